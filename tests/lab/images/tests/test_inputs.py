from __future__ import annotations

from pathlib import Path

import pytest

from lab.images.inputs import key


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "module.py").write_text("print(1)\n")
    return folder


def test_the_same_files_have_the_same_key_wherever_they_are(source: Path, tmp_path: Path) -> None:
    before = key(source, [source / "package"])
    moved = source.rename(tmp_path / "elsewhere")
    assert key(moved, [moved / "package"]) == before


def test_a_changed_line_a_renamed_file_and_another_setting_each_change_the_key(source: Path) -> None:
    module = source / "package" / "module.py"
    keys = {key(source, [source]), key(source, [source], "amd64")}
    module.write_text("print(2)\n")
    keys.add(key(source, [source]))
    module.rename(module.with_name("other.py"))
    keys.add(key(source, [source]))
    assert len(keys) == 4


def test_what_running_tests_leaves_behind_does_not_change_the_key(source: Path) -> None:
    before = key(source, [source])
    for leftover in ("package/__pycache__/module.cpython-313.pyc", "package/module.pyc", "package/tests/test_it.py"):
        (source / leftover).parent.mkdir(exist_ok=True)
        (source / leftover).write_text("x")
    assert key(source, [source]) == before


def test_settings_do_not_run_into_each_other(source: Path) -> None:
    assert key(source, [], "ab", "c") != key(source, [], "a", "bc")
