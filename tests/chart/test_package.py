"""The chart as it is published: what it says of itself is so, and it takes the image that was published with it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import MAJORS, MINIMAL, objects, render
from lab.package import changes, package
from lab.paths import CHART, ROOT, tool
from lab.version import CHANGELOG, VersionError, version

EVERYTHING = CHART / "tests" / "values" / "everything.yaml"
DIGEST = f"sha256:{'1a' * 32}"
PUBLISHED = f"ghcr.io/my-team/voice-agent@{DIGEST}"
SOURCE = "https://git.example.com/my-team/voice-agent"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    changelog = folder / "CHANGELOG.md"
    unreleased = CHANGELOG.read_text().partition("## [Unreleased]\n")[2]
    changelog.write_text(f"## [{version()}] - 2026-01-02\n{unreleased}")
    return package(f"v{version()}", "ghcr.io/my-team", DIGEST, SOURCE, folder, changelog=changelog)


@pytest.fixture(scope="module")
def about(archive: Path) -> dict[str, Any]:
    shown = subprocess.run([tool("helm"), "show", "chart", archive], capture_output=True, text=True, check=True)
    return dict(yaml.safe_load(shown.stdout))


def images(*args: str, values: Path, chart: Path, helm: str = MAJORS[0]) -> set[str]:
    return set(re.findall(r'image: "(.*)"', render(*args, values=values, chart=chart, helm=helm)))


@pytest.mark.parametrize("helm", MAJORS)
def test_the_published_image_is_taken_by_its_digest(archive: Path, helm: str) -> None:
    assert images(values=MINIMAL, chart=archive, helm=helm) == {PUBLISHED}


@pytest.mark.parametrize(
    ("own", "taken"),
    [
        ("image.tag=v2", "ghcr.io/my-team/voice-agent:v2"),
        ("image.repository=florist", f"ghcr.io/my-team/florist:{version()}"),
        ("image.registry=r.example", f"r.example/voice-agent:{version()}"),
        ("global.imageRegistry=r.example", f"r.example/voice-agent:{version()}"),
        (f"image.digest=sha256:{'0' * 64}", f"ghcr.io/my-team/voice-agent@sha256:{'0' * 64}"),
    ],
)
def test_another_image_is_not_taken_by_that_digest(archive: Path, own: str, taken: str) -> None:
    assert images("--set", own, values=MINIMAL, chart=archive) == {taken}


def test_the_images_that_it_names_are_those_that_it_renders(archive: Path, about: dict[str, Any]) -> None:
    named = {each["image"] for each in yaml.safe_load(about["annotations"]["artifacthub.io/images"])}
    assert named == images(values=EVERYTHING, chart=archive)


def test_what_it_says_of_itself(about: dict[str, Any]) -> None:
    annotations = about["annotations"]
    assert all(isinstance(value, str) for value in annotations.values())
    assert about["home"] == SOURCE
    assert about["sources"] == [SOURCE]
    kinds = {each["kind"] for each in yaml.safe_load(annotations["artifacthub.io/changes"])}
    assert kinds
    assert kinds <= {"added", "changed", "deprecated", "removed", "fixed", "security"}
    for link in yaml.safe_load(annotations["artifacthub.io/links"]):
        page = link["url"].removeprefix(f"{SOURCE}/blob/v{version()}/")
        assert (ROOT / page).is_file(), link


def test_it_is_otherwise_the_chart(archive: Path) -> None:
    published = render(values=EVERYTHING, chart=archive).replace(PUBLISHED, f"voice-agent:{version()}")
    assert objects(published) == objects(render(values=EVERYTHING))


def test_its_readmes_links_lead_somewhere_from_anywhere(archive: Path) -> None:
    readme = subprocess.run(
        [tool("helm"), "show", "readme", archive], capture_output=True, text=True, check=True
    ).stdout
    links = re.findall(r"]\(([^)#]+)\)", readme)
    assert f"{SOURCE}/blob/v{version()}/docs/install.md" in links
    assert not [link for link in links if "://" not in link]
    named = [link.removeprefix(f"{SOURCE}/blob/v{version()}/") for link in links if link.startswith(SOURCE)]
    assert not [page for page in named if not (ROOT / page).exists()]


def test_changes_are_told_one_by_one() -> None:
    notes = "### Added\n- One, on\n  two lines.\n- Two.\n\n### Security\n- Three: `x`.\n"
    assert changes(notes) == [
        {"kind": "added", "description": "One, on two lines."},
        {"kind": "added", "description": "Two."},
        {"kind": "security", "description": "Three: `x`."},
    ]


def test_a_digest_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match=r'the digest is "latest"'):
        package(f"v{version()}", "ghcr.io/my-team", "latest", SOURCE, tmp_path)
