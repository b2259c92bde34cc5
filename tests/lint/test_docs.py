"""The docs quote what the product says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.paths import CHART, ROOT

TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
# What Kubernetes and Helm say.
NOT_OURS = {
    "CreateContainerConfigError",
    "ContainerCreating",
    "FailedMount",
    "0/1 Running",
    "values don't meet the specifications of the schema",
    "error calling tpl",
}
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")}
    | {CHART / "README.md", ROOT / "images" / "agent" / "README.md"}
)
PRODUCT = [*(ROOT / "images" / "agent" / "src").rglob("*.py"), *(CHART / "templates").glob("*.tpl")]


def _said(text: str) -> str:
    """Text without what differs from time to time."""
    return re.sub(r"%[-.0-9]*[a-z]", "…", text)


def _quotes() -> list[str]:
    first_columns = re.findall(r"^\| (`[^|]*) \|", TROUBLESHOOTING, re.MULTILINE)
    return [quote for column in first_columns for quote in re.findall(r"`([^`]+)`", column)]


@pytest.mark.parametrize("quote", sorted(set(_quotes()) - NOT_OURS))
def test_what_troubleshooting_quotes_is_said(quote: str) -> None:
    sources = [_said(path.read_text()) for path in PRODUCT]
    assert any(quote in source for source in sources)


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(there), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_verbs_of_make_that_are_named_exist(page: Path) -> None:
    verbs = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)) <= verbs
