"""Argo CD's application-controller and repo-server, as processes beside the cluster's control plane."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from lab.argocd.definitions import APPLICATION, NAMESPACE, define
from lab.kubectl import Kubectl
from lab.paths import BIN, tool, tool_on_demand
from lab.ports import free_port
from lab.redis import redis_server

_REFRESH = "argocd.argoproj.io/refresh"
_START_SECONDS = 60.0
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.5
_LOG_LINES = 25


@dataclass(frozen=True)
class ArgoCD:
    """A running Argo CD.

    Attributes:
        kubectl: in the namespace of its Applications.
        logs: what its processes write, by their names.
    """

    kubectl: Kubectl
    logs: Mapping[str, Path]

    def status(self, name: str) -> dict[str, Any]:
        """An Application's status."""
        return _status(self._get(name))

    def differences(self, name: str) -> list[str]:
        """An Application's state unless it is synced, and which objects are not in the cluster as in the repository."""
        status = self.status(name)
        objects = [f"{each['kind']}/{each['name']}" for each in status["resources"] if each["status"] != "Synced"]
        return [state, *objects] if (state := status["sync"]["status"]) != "Synced" else []

    def synced(self, name: str, revision: str | None = None) -> None:
        """Wait until an Application was synced, of that revision if one is given, and differs from it in nothing.

        Raises:
            TimeoutError: it was not; the message ends with what Argo CD says and logs.
        """

        def done(application: dict[str, Any]) -> bool:
            sync, operation = (_status(application).get(key, {}) for key in ("sync", "operationState"))
            synced = operation.get("syncResult", {}).get("revision")
            states = sync.get("status"), operation.get("phase"), synced
            return states == ("Synced", "Succeeded", sync.get("revision")) and revision in (None, synced)

        self._wait(name, "Synced", done)

    def healthy(self, name: str) -> None:
        """Wait until an Application is healthy.

        Raises:
            TimeoutError: it was not; the message ends with what Argo CD says and logs.
        """
        self._wait(name, "Healthy", lambda each: _status(each).get("health", {}).get("status") == "Healthy")

    def refresh(self, name: str) -> None:
        """A hard refresh: have the chart rendered anew and compared with the cluster.

        Raises:
            TimeoutError: it did not come about.
        """
        self.kubectl.run("annotate", APPLICATION, name, f"{_REFRESH}=hard", "--overwrite")
        self._wait(name, "refreshed", lambda each: _REFRESH not in each["metadata"].get("annotations", {}))

    def delete(self, *names: str) -> None:
        """Delete Applications with all that was synced for them, and wait until it is gone."""
        self.kubectl.run("delete", APPLICATION, *names, "--ignore-not-found", "--timeout=120s")

    def _get(self, name: str) -> dict[str, Any]:
        application: dict[str, Any] = self.kubectl.get(APPLICATION, name)
        return application

    def _wait(self, name: str, what: str, done: Callable[[dict[str, Any]], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not done(application := self._get(name)):
            if time.monotonic() > deadline:
                said = f"{_said(_status(application))}\n{self._logged()}"
                raise TimeoutError(f"{name} is not {what} after {_PATIENCE_SECONDS:g} s\n{said}")
            time.sleep(_POLL_SECONDS)

    def _logged(self) -> str:
        return "\n".join(f"--- the end of {name}'s log\n{_tail(log)}" for name, log in self.logs.items())


def _status(application: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = application.get("status", {})
    return status


def _said(status: dict[str, Any]) -> str:
    """What Argo CD says of an Application: its states, what is wrong, and which objects are not as they should be."""
    operation = status.get("operationState", {})
    said = {
        "sync": status.get("sync", {}).get("status"),
        "revision": status.get("sync", {}).get("revision"),
        "health": status.get("health", {}).get("status"),
        "operation": f"{operation.get('phase')} {operation.get('message', '')}",
        **{each["type"]: each["message"] for each in status.get("conditions", [])},
        **{
            f"{each['kind']}/{each['name']}": f"{each.get('status')} {each.get('health', {})}"
            for each in status.get("resources", [])
            if each.get("status") != "Synced" or each.get("health", {}).get("status") not in (None, "Healthy")
        },
    }
    return "\n".join(f"{key}: {value}" for key, value in said.items())


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


@contextmanager
def argo_cd(cluster: Kubectl) -> Iterator[ArgoCD]:
    """Run Argo CD against a cluster for as long as the context lasts. Its definitions stay in the cluster.

    Raises:
        RuntimeError: a process did not come up; the message ends with its log.
        CalledProcessError: it could not be built; the builder has said why.
    """
    tool_on_demand("argocd")
    kubectl = cluster.in_namespace(NAMESPACE)
    define(kubectl)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="argocd-")))
        redis = f"--redis=127.0.0.1:{stack.enter_context(redis_server()).port}"
        repo, repo_metrics, controller_metrics = free_port(), free_port(), free_port()
        programs = {
            "argocd-repo-server": (
                "--disable-tls", "--address=127.0.0.1", f"--port={repo}", redis,
                "--metrics-address=127.0.0.1", f"--metrics-port={repo_metrics}",
            ),
            "argocd-application-controller": (
                f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}", redis,
                f"--repo-server=127.0.0.1:{repo}", "--repo-server-plaintext", f"--metrics-port={controller_metrics}",
            ),
        }  # fmt: skip
        running = ArgoCD(kubectl, {name: folder / f"{name}.log" for name in programs})
        for (name, flags), port in zip(programs.items(), (repo_metrics, controller_metrics), strict=True):
            process = stack.enter_context(_running(name, flags, running.logs[name], folder))
            _wait_until_up(name, process, f"http://127.0.0.1:{port}/healthz", running.logs[name])
        # Of a run that was interrupted.
        kubectl.run("delete", APPLICATION, "--all", "--timeout=120s")
        yield running


@contextmanager
def _running(name: str, flags: tuple[str, ...], log: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        # For the pinned helm.
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TMPDIR": str(folder),
        "ARGOCD_ASK_PASS_SOCK": str(folder / "ask-pass.sock"),
        "ARGOCD_GPG_ENABLED": "false",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(tool(name)), "--logformat=text", *flags], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_up(name: str, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own http:// address
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"{name} did not answer at {url} in {_START_SECONDS:g} s; the end of its log:\n{_tail(log)}")
