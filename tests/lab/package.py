"""The chart as it is published: with the address and the digest of its image, and what Artifact Hub shows.

What the annotations mean: https://artifacthub.io/docs/topics/annotations/helm/
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lab.paths import CHART, tool
from lab.version import CHANGELOG, VersionError, release_notes

# The repository as values.yaml names it.
IMAGE = "voice-agent"


def package(
    tag: str, registry: str, digest: str, source: str, destination: Path, *, changelog: Path = CHANGELOG
) -> Path:
    """Package the chart of a tagged version; returns the archive.

    Args:
        tag: of the version, such as ``v0.1.0``.
        registry: where the image is, such as ``ghcr.io/my-team``.
        digest: the image's.
        source: the address of the repository that the tag is in.
        destination: the folder for the archive.
        changelog: what changed.

    Raises:
        VersionError: see `release_notes`; or the digest is none, or helm refuses the chart.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise VersionError(f'the digest is "{digest}". Give the one that the push of the image printed, sha256:…')
    notes = release_notes(tag, changelog)
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(shutil.copytree(CHART, Path(folder) / CHART.name))
        values = chart / "values.yaml"
        # The first one: the agent's image.
        values.write_text(values.read_text().replace('  registry: ""', f"  registry: {registry}", 1))
        pages = f"{source}/blob/{tag}"
        readme = chart / "README.md"
        # The archive is outside of the repository that the links lead into.
        readme.write_text(readme.read_text().replace("](../../", f"]({pages}/"))
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        about |= {"home": source, "sources": [source]}
        about["annotations"] |= _annotations(
            yaml.safe_load(values.read_text()), f"{registry}/{IMAGE}@{digest}", pages, notes
        )
        (chart / "Chart.yaml").write_text(yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=120))
        command = [str(tool("helm")), "package", str(chart), "--destination", str(destination)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise VersionError(f"helm package failed:\n{done.stderr}")
    return destination / f"{about['name']}-{about['version']}.tgz"


def _annotations(values: dict[str, Any], image: str, pages: str, notes: str) -> dict[str, str]:
    others = {"valkey": values["state"]["valkey"]["image"], "headroom": values["headroom"]["image"]}
    images = [{"name": IMAGE, "image": image}]
    images += [{"name": name, "image": "{registry}/{repository}:{tag}".format(**each)} for name, each in others.items()]
    pointers = {
        "Upgrading": "UPGRADING.md",
        "Troubleshooting": "docs/troubleshooting.md",
        "How a call moves": "docs/how-a-call-moves.md",
        "Security": "SECURITY.md",
    }
    security = "### Security" in notes
    return {
        # What the chart's own templates take the digest from.
        "voice-agent/image": image,
        "artifacthub.io/changes": _yaml(changes(notes)),
        "artifacthub.io/containsSecurityUpdates": str(security).lower(),
        "artifacthub.io/images": _yaml(images),
        "artifacthub.io/links": _yaml([{"name": name, "url": f"{pages}/{page}"} for name, page in pointers.items()]),
        "artifacthub.io/prerelease": "false",
    }


def changes(notes: str) -> list[dict[str, str]]:
    """A section of the changelog as Artifact Hub takes it: kinds of change, and a sentence or two on each."""
    return [
        {"kind": kind.lower(), "description": " ".join(point.split())}
        for kind, points in re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", notes, re.MULTILINE | re.DOTALL)
        for point in re.findall(r"^- (.*?)(?=^- |\Z)", points, re.MULTILINE | re.DOTALL)
    ]


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
