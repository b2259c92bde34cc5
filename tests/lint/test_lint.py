"""Every linter and type checker, one test each, so that a run names the one that complains."""

from __future__ import annotations

import re
import subprocess

import pytest

from lab.paths import ROOT, tool

LINTERS = {
    "ruff": ["ruff", "check", "."],
    "ruff-format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
    "yamllint": ["yamllint", "--strict", "."],
    # What it would ask GitHub for cannot be asked here.
    "zizmor": ["zizmor", "--quiet", "--offline", "--persona=pedantic", ".github"],
}


def tracked(*patterns: str) -> list[str]:
    """The files that git tracks, or would, under ``patterns``."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def run(command: list[str]) -> None:
    """Run a linter in the root folder and show what it says when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command[:3])} failed:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.mark.parametrize("command", LINTERS.values(), ids=LINTERS.keys())
def test_linter(command: list[str]) -> None:
    run(command)


def test_hadolint() -> None:
    run(["hadolint", *tracked("*Dockerfile")])


def test_actionlint() -> None:
    # By shellcheck it reads the scripts in workflows, too.
    run([str(tool("actionlint")), *tracked(".github/workflows/*")])


@pytest.mark.parametrize("workflow", tracked(".github/workflows/*"))
def test_actions_are_pinned_to_commits_that_say_their_version(workflow: str) -> None:
    used = re.findall(r"uses: (.*)", (ROOT / workflow).read_text())
    assert used
    loose = [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)]
    assert not loose, f"{workflow}: pin {loose} as owner/name@COMMIT # vX.Y.Z"


def test_shellcheck() -> None:
    scripts = [f for f in tracked() if (ROOT / f).read_bytes()[:2] == b"#!" and not f.endswith(".py")]
    assert ".ci/run" in scripts
    run(["shellcheck", *scripts])
