"""A tool is built when something in it changed, and only then."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[1]


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


def test_every_tool_is_pinned(build: ModuleType) -> None:
    assert set(build.NAMES) == {path.parent.name for path in TOOLS.glob("*/go.mod")}
    for name in build.NAMES:
        tool = build.Tool.read(name)
        assert tool.version.startswith("v") or list(tool.folder.glob("*.go")), name


def test_the_key_changes_with_the_pin_and_with_go(build: ModuleType, tools: Path) -> None:
    before = build.Tool.read("demo", tools)
    keys = {before.key("go1.26.8"), before.key("go1.27.0")}
    go_mod = tools / "demo" / "go.mod"
    go_mod.write_text(go_mod.read_text().replace("v1.2.3", "v1.2.4"))
    after = build.Tool.read("demo", tools)
    assert (before.version, after.version) == ("v1.2.3", "v1.2.4")
    assert len(keys | {after.key("go1.26.8")}) == 3


def test_the_newest_go_that_is_asked_for(build: ModuleType, tools: Path) -> None:
    (tools / "other").mkdir()
    (tools / "other" / "go.mod").write_text("module y\n\ngo 1.9\n")
    assert build.needed_go(tools) == "1.25.0"
    assert build.version_tuple("go1.26.8") > build.version_tuple("1.26") > build.version_tuple("1.9.9")


def test_a_build_that_fails_leaves_nothing_that_is_taken_as_good(
    build: ModuleType, tools: Path, tmp_path: Path
) -> None:
    compiler = tmp_path / "go"
    compiler.write_text(
        '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho half > "$2"\necho no such module >&2\nexit 1\n'
    )
    compiler.chmod(0o755)
    output = tmp_path / "out" / "demo"
    with pytest.raises(build.BuildError, match="no such module"):
        build.compile_tool(build.Tool.read("demo", tools), compiler, output)
    assert not output.exists()


def test_an_unknown_tool_is_refused_with_the_known_ones(build: ModuleType) -> None:
    with pytest.raises(build.BuildError, match="livekit-server"):
        build.Tool.read("lk")
