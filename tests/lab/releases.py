"""Released versions: chart, values and image of each, from its commit."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.images import Image, agent
from lab.paths import BUILD, CHART, ROOT, VALUES

LIST = Path(__file__).with_name("releases.yaml")
# What an operator has of a release.
FOLDERS = tuple(str(path.relative_to(ROOT)) for path in (CHART, VALUES, agent.CONTEXT))


class ReleaseError(Exception):
    """A released version cannot be had; the message says why."""


@dataclass(frozen=True)
class Release:
    """One released version.

    Attributes:
        version: of chart and image.
        commit: that it was made from.
    """

    version: str
    commit: str

    @property
    def folder(self) -> Path:
        """Where its files are, once they were asked for."""
        return BUILD / "releases" / self.commit[:12]

    def path(self, here: Path) -> Path:
        """The released counterpart of a file or folder of this checkout.

        Raises:
            ReleaseError: git does not have the commit.
        """
        if not self.folder.exists():
            self._unpack()
        return self.folder / here.relative_to(ROOT)

    def image(self) -> Image:
        """Its agent image.

        Raises:
            ReleaseError: git does not have the commit.
        """
        return agent.released(self.version, self.path(agent.CONTEXT))

    def fetch(self) -> None:
        """Have git get the commit, if this is a clone without its history, as CI systems make them.

        Raises:
            ReleaseError: git does not have the commit.
        """
        shallow = _git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        fetched = _git("fetch", "--quiet", "--unshallow") if shallow else None
        if _git("cat-file", "-e", f"{self.commit}^{{commit}}").returncode != 0:
            said = fetched.stderr.decode().strip() if fetched else "this clone has its whole history"
            raise ReleaseError(
                f"git has no commit {self.commit}, which version {self.version} was made from: {said}. "
                f"Is it in {LIST.name} as it was tagged?"
            )

    def _unpack(self) -> None:
        self.fetch()
        done = _git("archive", self.commit, *FOLDERS)
        done.check_returncode()
        unfinished = self.folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            tar.extractall(unfinished, filter="data")
        unfinished.rename(self.folder)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)


def releases() -> list[Release]:
    """Every released version, oldest first."""
    return [Release(version, commit) for version, commit in yaml.safe_load(LIST.read_text()).items()]
