"""A Git repository with what GitOps syncs from: this checkout's chart and values, uncommitted changes included."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import packages
from lab.paths import CHART, ROOT, VALUES

BRANCH = "main"
_IDENTITY = {"GIT_AUTHOR_NAME": "lab", "GIT_AUTHOR_EMAIL": "lab@example.com"}
_ENVIRONMENT = {
    **_IDENTITY,
    **{name.replace("AUTHOR", "COMMITTER"): value for name, value in _IDENTITY.items()},
    # Whoever runs this may sign commits, or have hooks.
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


class Repository:
    """A repository on this machine.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        packages.ensure({"git": "git"}, lambda line: print(line, file=sys.stderr))
        self.folder = folder
        for source in (CHART, VALUES):
            shutil.copytree(source, folder / source.relative_to(ROOT))
        self._git("init", "--quiet", f"--initial-branch={BRANCH}")
        self._commit("The chart and the values of each environment")

    @property
    def url(self) -> str:
        """Where it is cloned from."""
        return f"file://{self.folder}"

    def values(self, environment: str) -> Any:
        """An environment's values."""
        return yaml.safe_load(self._values_file(environment).read_text())

    def commit(self, environment: str, values: Mapping[str, Any]) -> str:
        """Commit an environment's values, of a new one too; returns the revision."""
        self._values_file(environment).write_text(yaml.safe_dump(values))
        return self._commit(f"The values of {environment}")

    def _values_file(self, environment: str) -> Path:
        return self.folder / "values" / f"{environment}.yaml"

    def _commit(self, message: str) -> str:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *args: str) -> str:
        command = ["git", "-C", str(self.folder), *args]
        environment = {**os.environ, **_ENVIRONMENT}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
