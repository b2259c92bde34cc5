"""What stands in the way of an install is told, or cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import kubectl
from lab.kubectl import PENDING, CommandError, Kubectl


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a helm that takes no upgrade while there is a file `pending`, which holds the revision."""
    program = tmp_path / "helm"
    program.write_text(
        f"""#!/bin/sh
cd {tmp_path}
shift 4
echo "$1" >> said
case "$1" in
upgrade) ! test -e pending || {{ echo "Error: {PENDING}" >&2; exit 1; }} ;;
history) printf '[{{"revision": %s}}]' "$(cat pending)" ;;
rollback | uninstall) rm pending ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(kubectl, "tool", lambda name: tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("revision", "remedy"), [(1, "uninstall"), (7, "rollback")])
def test_a_change_that_was_interrupted_is_undone_first(
    helm: Path, revision: int, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (helm / "pending").write_text(str(revision))
    Kubectl(helm / "kubeconfig").install("demo")
    assert (helm / "said").read_text().split() == ["upgrade", "history", remedy, "upgrade"]
    assert "interrupted while it changed demo" in capsys.readouterr().err


def test_another_failure_is_told(helm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (helm / "helm").write_text("#!/bin/sh\necho no such chart >&2; exit 1")
    monkeypatch.setattr(Kubectl, "explain", lambda _: None)
    with pytest.raises(CommandError, match="no such chart"):
        Kubectl(helm / "kubeconfig").install("demo")


def test_a_line_of_a_log_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\necho starting\necho registered as AW_1\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(kubectl, "tool", lambda name: tmp_path / name)
    monkeypatch.setattr(Kubectl, "explain", lambda _: None)
    pods = Kubectl(tmp_path / "kubeconfig")
    pods.wait_logged("pod", "registered", timeout=50)
    with pytest.raises(CommandError, match="did not log 'drained'"):
        pods.wait_logged("pod", "drained", timeout=0.5)
