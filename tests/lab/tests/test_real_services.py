"""What the environment says about the real services, as far as it can be known without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chart.helm import objects, render
from lab.kubectl import Kubectl
from lab.paths import VALUES
from lab.real_services import RealServices
from lab.services import Endpoints, ServicesError

LAB = Endpoints("ws://lab:1", "key", "secret", "http://lab:2")
LIVEKIT = {"LIVEKIT_URL": "wss://x.livekit.cloud", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}


class Applied(Kubectl):
    """A kubectl that only remembers what it was to apply."""

    def apply(self, *documents: object) -> None:
        APPLIED.extend(documents)


APPLIED: list[object] = []


def _environment_of(real: RealServices) -> dict[str, object]:
    APPLIED.clear()
    arguments = real.helm_args(Applied(Path("none")))
    rendered = objects(render(*arguments, values=VALUES / "local.yaml"))
    worker = next(o for o in rendered if o["kind"] == "Deployment" and o["metadata"]["name"].endswith("-worker"))
    container = worker["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_nothing_is_asked_for() -> None:
    real = RealServices.of({})
    assert not real.any
    assert real.endpoints(LAB) == LAB


def test_a_key_replaces_the_simulator() -> None:
    environment = _environment_of(RealServices.of({"GOOGLE_API_KEY": "g"}))
    assert "GEMINI_BASE_URL" not in environment
    assert "SSL_CERT_FILE" not in environment
    assert "g" in json.dumps(APPLIED)
    assert "demo-gemini" in str(environment["GOOGLE_API_KEY"])


def test_vertex_ai_replaces_the_simulator(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text("{}")
    wanted = {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": "p",
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
    }
    environment = _environment_of(RealServices.of(wanted))
    assert environment["GOOGLE_CLOUD_PROJECT"] == "p"
    assert "GOOGLE_API_KEY" not in environment
    assert environment["GOOGLE_APPLICATION_CREDENTIALS"] == "/etc/google-credentials/credentials.json"


def test_livekit_is_replaced_for_workers_and_callers() -> None:
    real = RealServices.of(LIVEKIT)
    assert _environment_of(real)["LIVEKIT_URL"] == "wss://x.livekit.cloud"
    assert real.endpoints(LAB).livekit_url == "wss://x.livekit.cloud"
    assert real.endpoints(LAB).api_key == "k"


@pytest.mark.parametrize("missing", ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ServicesError, match=missing):
        RealServices.of({name: value for name, value in LIVEKIT.items() if name != missing})
