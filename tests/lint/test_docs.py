"""The docs quote what the product says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.paths import CHART, ROOT

TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
# What Kubernetes and Helm say.
NOT_OURS = {"CreateContainerConfigError", "0/1 Running", "values don't meet the specifications of the schema"}
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


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
