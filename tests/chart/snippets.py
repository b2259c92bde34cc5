"""What the pages show: values, commands, names of values."""

from __future__ import annotations

import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lab.paths import CHART, ROOT

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# Not the changelog, which tells of what once was.
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md"), CHART / "README.md"}
    - {ROOT / "CHANGELOG.md"}
)
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# A block of values says so in its first line, by the name that commands call it by.
_NAME = re.compile(r"# (\S*values\.yaml)\n")
_COMMAND = re.compile(r"\bhelm (?:install|upgrade|template) [^|\n]*")
_PATH = re.compile(r"`(?:--set )?([a-z]\w*(?:\.[a-z]\w*)+)(?=[`=:\[])")


def blocks(page: Path, language: str) -> list[str]:
    """The code of a language that a page shows."""
    found = _BLOCK.findall(page.read_text())
    return [textwrap.dedent(text) for _, shown, text in found if shown == language]


def values_blocks() -> dict[str, str]:
    """The values that pages show, by their names.

    Raises:
        ValueError: two blocks have the same name, or one is neither values nor an object.
    """
    known: dict[str, str] = {}
    for page in PAGES:
        for text in blocks(page, "yaml"):
            if named := _NAME.match(text):
                name = named[1]
                if name in known:
                    raise ValueError(f"{page.name}: {name} is shown twice; name one otherwise")
                known[name] = text
            elif "kind:" not in text:
                raise ValueError(f"{page.name}: begin the block with `# SOMETHING-values.yaml`:\n{text}")
    return known


def commands() -> Iterator[tuple[str, list[str]]]:
    """Pages and the flags of each command with which they give values to Helm."""
    for page in PAGES:
        shown = "\n".join(blocks(page, "console") + blocks(page, "sh")).replace("\\\n", " ")
        for command in _COMMAND.findall(shown):
            yield page.name, flags(command)
        for inline in re.findall(r"`(--set [^`]+)`", page.read_text()):
            yield page.name, flags(inline)


def flags(command: str) -> list[str]:
    """Those flags of a command that give values."""
    words = shlex.split(command)
    kinds = ("--set", "--set-string", "--set-json", "--values", "-f")
    return [word for flag, value in itertools.pairwise(words) if flag in kinds for word in (flag, value)]


def paths(page: Path) -> set[str]:
    """What a page calls by the name of a value."""
    return {path for path in _PATH.findall(page.read_text()) if path.partition(".")[0] in VALUES}


def exists(path: str) -> bool:
    """Whether values.yaml has a value, or a map that an operator fills as they like."""
    node: Any = VALUES
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            # What is empty by default is the operator's.
            return isinstance(node, dict) and not node
        node = node[part]
    return True
