"""The version of chart and image: one number, set in the image's pyproject.toml and written wherever else it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from lab.paths import CHART, ROOT

SOURCE = ROOT / "images" / "agent" / "pyproject.toml"
CHANGELOG = ROOT / "CHANGELOG.md"

_LOCKED = r'^(name = "voice-agent"\nversion = ")[^"]+'
# What precedes the version, and the version, in each file that carries it.
_CARRIERS = {
    CHART / "Chart.yaml": r"^((?:version|appVersion): )\S+",
    ROOT / "images" / "agent" / "Dockerfile": r"^(ARG VERSION=)\S+",
    ROOT / "images" / "agent" / "uv.lock": _LOCKED,
    ROOT / "uv.lock": _LOCKED,
}


class VersionError(Exception):
    """What is to be released is not of one version; the message says what to change."""


def version() -> str:
    """The version that this checkout has.

    Raises:
        VersionError: it is none that Helm and Python both understand.
    """
    found = str(tomllib.loads(SOURCE.read_text())["project"]["version"])
    if not re.fullmatch(r"\d+\.\d+\.\d+", found):
        raise VersionError(f'{_shown(SOURCE)} has version = "{found}". Write it as three numbers, such as 0.2.0')
    return found


def carriers() -> dict[Path, Callable[[], str]]:
    """The files that carry the version, and what makes each one's text as it should be."""
    return {path: _with_version(path, pattern) for path, pattern in _CARRIERS.items()}


def _with_version(path: Path, pattern: str) -> Callable[[], str]:
    def make() -> str:
        text, count = re.subn(pattern, rf"\g<1>{version()}", path.read_text(), flags=re.MULTILINE)
        if not count:
            raise VersionError(f"{_shown(path)} has no line for the version: {pattern} is not in it")
        return text

    return make


def release_notes(tag: str, changelog: Path = CHANGELOG) -> str:
    """What the changelog says of the version that is tagged.

    Raises:
        VersionError: the tag is not this checkout's version, or a file or the changelog does not know it yet.
    """
    wanted = version()
    if tag != f"v{wanted}":
        raise VersionError(
            f'the tag is {tag}, and {_shown(SOURCE)} has version = "{wanted}". Set it there, run `make generate`, '
            "commit, and tag that commit with a v before the version"
        )
    if stale := [_shown(path) for path, make in carriers().items() if make() != path.read_text()]:
        raise VersionError(f"{', '.join(stale)} carry another version than {wanted}. Run `make generate` and commit")
    text = changelog.read_text()
    section = re.search(rf"^## \[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if not section:
        raise VersionError(
            f"{changelog.name} has no section ## [{wanted}] - YYYY-MM-DD. Give the section [Unreleased] that title, "
            "and put an empty one above it"
        )
    return section[1].strip() + "\n"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))
