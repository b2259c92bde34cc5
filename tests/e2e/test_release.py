"""What an operator meets when a release is installed, well or badly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.demo.run import REPORT_FOLDER
from lab.kubectl import CommandError
from lab.stage import RELEASE, Stage

pytestmark = pytest.mark.cluster


def test_helm_test_finds_everything_in_order(release: Stage) -> None:
    said = release.kubectl.helm("test", RELEASE, "--logs", "--timeout=180s")
    assert "Phase:          Succeeded" in said


def test_kubectl_top_shows_the_workers(release: Stage) -> None:
    # metrics-server has read a new pod within two rounds of 10 s.
    deadline = time.monotonic() + 60
    shown: set[str] = set()
    while not shown >= release.worker_names() and time.monotonic() < deadline:
        rows = release.kubectl.run("top", "pods", "--no-headers").splitlines()
        shown = {row.split()[0] for row in rows}
        time.sleep(1)
    assert shown >= release.worker_names()


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("agent.class=florist.shop:Florist", "AGENT_CLASS=florist.shop:Florist"),
        ("extraEnv[0].name=METRICS_PORT,extraEnv[0].value=many", "METRICS_PORT=many"),
    ],
)
def test_a_wrong_setting_ends_the_pod_before_any_call(release: Stage, setting: str, shown: str) -> None:
    kept = release.worker_names()
    with pytest.raises(CommandError):
        release.install("--set", setting, wait=20)
    pods = release.kubectl.items("pods", "-l", release.selector)
    assert kept <= {pod["metadata"]["name"] for pod in pods}, "the old pods left before there were good ones"
    new = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] not in kept]
    said = "".join(_last_words(release, pod) for pod in new)
    assert shown in said
    assert "Fix:" in said


def _last_words(release: Stage, pod: str) -> str:
    """What `kubectl describe pod` shows of the container's last end."""
    last = "status.containerStatuses[0].lastState.terminated"
    release.kubectl.run("wait", f"pod/{pod}", f"--for=jsonpath={{.{last}.exitCode}}=2", "--timeout=60s")
    return release.kubectl.run("get", "pod", pod, "-o", f"jsonpath={{.{last}.message}}")


def test_a_missing_secret_is_named(release: Stage) -> None:
    with pytest.raises(CommandError):
        release.install("--set", "livekit.existingSecret.name=not-there", wait=20)
    waiting = [
        status["state"].get("waiting", {}).get("message", "")
        for pod in release.workers()
        for status in pod["status"].get("containerStatuses", [])
    ]
    assert any('secret "not-there" not found' in message for message in waiting)


def test_the_demo_tells_when_calls_are_lost(stage: Stage) -> None:
    arguments = ["--no-keeper", "--no-drain", "--disruption", "upgrade", "--calls", "1"]
    demo = [str(Path(sys.executable).with_name("lab")), "demo", *arguments]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=600)
    report = json.loads((REPORT_FOLDER / "report.json").read_text())
    assert done.returncode == 1, done.stdout + done.stderr
    assert report["summary"]["lost_calls"] == 1, done.stdout
