"""The real LiveKit and Gemini in place of the lab's own, when the environment names them.

Not tried where the project is developed: neither can be reached there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab.kubectl import Kubectl
from lab.services import Endpoints, ServicesError

LIVEKIT_SECRET = "demo-livekit"  # noqa: S105 - a name
GEMINI_SECRET = "demo-gemini"  # noqa: S105 - a name
CREDENTIALS_SECRET = "demo-google-credentials"  # noqa: S105 - a name
_CREDENTIALS_FOLDER = "/etc/google-credentials"


@dataclass(frozen=True)
class RealServices:
    """What the environment asks for.

    Attributes:
        gemini: "" for the simulator, ``api-key`` for the Developer API, ``vertexai`` for Vertex AI.
        livekit_url: "" for the lab's own livekit-server.
        environment: where the credentials are.
    """

    gemini: str
    livekit_url: str
    environment: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> RealServices:
        """Read ``GOOGLE_API_KEY``, ``GOOGLE_GENAI_USE_VERTEXAI`` and ``LIVEKIT_URL``.

        Raises:
            ServicesError: a variable that goes with one of them is missing; the message names it.
        """
        vertexai = environment.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() in ("1", "true")
        gemini = "vertexai" if vertexai else "api-key" if environment.get("GOOGLE_API_KEY") else ""
        livekit_url = environment.get("LIVEKIT_URL", "")
        needed = ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"] if livekit_url else []
        needed += ["GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"] if vertexai else []
        if missing := [name for name in needed if not environment.get(name)]:
            raise ServicesError(
                f"{' and '.join(missing)} not set: the demo needs them with "
                f"{'LIVEKIT_URL' if livekit_url else 'GOOGLE_GENAI_USE_VERTEXAI'}. Set them, or unset the latter."
            )
        return cls(gemini, livekit_url, environment)

    @property
    def any(self) -> bool:
        """Whether anything outside of the lab is used."""
        return bool(self.gemini or self.livekit_url)

    def endpoints(self, lab: Endpoints) -> Endpoints:
        """Where callers go."""
        if not self.livekit_url:
            return lab
        return replace(
            lab,
            livekit_url=self.livekit_url,
            api_key=self.environment["LIVEKIT_API_KEY"],
            api_secret=self.environment["LIVEKIT_API_SECRET"],
        )

    def helm_args(self, kubectl: Kubectl) -> list[str]:
        """Put the credentials into Secrets, and return what points the chart at the services."""
        arguments: list[str] = []
        if self.livekit_url:
            keys = {"api-key": "LIVEKIT_API_KEY", "api-secret": "LIVEKIT_API_SECRET"}
            self._apply(kubectl, LIVEKIT_SECRET, {key: self.environment[name] for key, name in keys.items()})
            arguments += ["--set", f"livekit.url={self.livekit_url}"]
            arguments += ["--set", f"livekit.existingSecret.name={LIVEKIT_SECRET}"]
        if not self.gemini:
            return arguments
        # Without the simulator's certificate.
        arguments += ["--set", "gemini.baseUrl=", "--set-json", "extraEnv=[],extraVolumes=[],extraVolumeMounts=[]"]
        if self.gemini == "api-key":
            self._apply(kubectl, GEMINI_SECRET, {"api-key": self.environment["GOOGLE_API_KEY"]})
            return [*arguments, "--set", f"gemini.apiKey.existingSecret.name={GEMINI_SECRET}"]
        credentials = Path(self.environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()
        self._apply(kubectl, CREDENTIALS_SECRET, {"credentials.json": credentials})
        location = self.environment.get("GOOGLE_CLOUD_LOCATION", "us-central1")
        settings = {
            "gemini.apiKey.existingSecret.name": "",
            "gemini.vertexai.enabled": "true",
            "gemini.vertexai.project": self.environment["GOOGLE_CLOUD_PROJECT"],
            "gemini.vertexai.location": location,
            "extraEnv[0].name": "GOOGLE_APPLICATION_CREDENTIALS",
            "extraEnv[0].value": f"{_CREDENTIALS_FOLDER}/credentials.json",
            "extraVolumes[0].name": "google-credentials",
            "extraVolumes[0].secret.secretName": CREDENTIALS_SECRET,
            "extraVolumeMounts[0].name": "google-credentials",
            "extraVolumeMounts[0].mountPath": _CREDENTIALS_FOLDER,
        }
        for name, value in settings.items():
            arguments += ["--set", f"{name}={value}"]
        return arguments

    @staticmethod
    def _apply(kubectl: Kubectl, name: str, values: dict[str, str]) -> None:
        kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})
