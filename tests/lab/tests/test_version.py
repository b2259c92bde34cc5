from __future__ import annotations

from pathlib import Path

import pytest

from lab import version as versions
from lab.version import VersionError, carriers, release_notes, version

SECTIONS = f"""# Changelog

## [Unreleased]

## [{version()}] - 2026-01-02
### Added
- Calls.

## [0.0.1] - 2025-01-02
"""


def test_every_carrier_follows_the_one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda: "7.8.9")
    for path, make in carriers().items():
        kept, made = path.read_text().splitlines(), make().splitlines()
        changed = [(old, new) for old, new in zip(kept, made, strict=True) if old != new]
        assert len(changed) == (2 if path.name == "Chart.yaml" else 1), path
        assert all("7.8.9" in new and version() not in new for _, new in changed)


def test_a_release_is_told_by_its_section(tmp_path: Path) -> None:
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(SECTIONS)
    assert release_notes(f"v{version()}", changelog) == "### Added\n- Calls.\n"


def test_a_tag_of_another_version_is_refused() -> None:
    with pytest.raises(VersionError, match=r"the tag is v7\.8\.9, and images/agent/pyproject\.toml has version"):
        release_notes("v7.8.9")


def test_a_file_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda: "7.8.9")
    with pytest.raises(VersionError, match=r"charts/voice-agent/Chart\.yaml, .* carry another version than 7\.8\.9"):
        release_notes("v7.8.9")


def test_a_release_without_a_section_is_refused(tmp_path: Path) -> None:
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## [Unreleased]\n- Calls.\n")
    with pytest.raises(VersionError, match=r"Give the section \[Unreleased\] that title"):
        release_notes(f"v{version()}", changelog)
