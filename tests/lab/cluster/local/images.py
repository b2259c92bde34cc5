"""Images in the nodes' containerds; there is no registry."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.cluster.base import ClusterError
from lab.cluster.local.layout import NODES, Node
from lab.cluster.local.packages import SEARCH_PATH


def ctr(node: Node, *args: str) -> str:
    """Run containerd's own client against a node.

    Raises:
        ClusterError: it failed.
    """
    command = ["ctr", f"--address={node.socket}", "--namespace=k8s.io", *args]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": SEARCH_PATH})
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def _identity(archive: Path) -> str:
    """A digest of what an archive holds: its manifest names configurations and layers by their digests.

    Raises:
        ClusterError: the file is not a docker-archive.
    """
    try:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            return hashlib.sha256(manifest.read() if manifest else b"").hexdigest()
    except (FileNotFoundError, KeyError, tarfile.TarError) as error:
        raise ClusterError(f"{archive} is no docker-archive of an image ({error}): run `make images`") from error


def _load(node: Node, archive: Path, identity: str) -> None:
    done = node.state / "images" / identity
    if done.exists():
        return
    ctr(node, "images", "import", str(archive))
    done.parent.mkdir(exist_ok=True)
    done.touch()


def load(archive: Path, nodes: tuple[Node, ...] = NODES) -> None:
    """Import a docker-archive into nodes at the same time; what a node has already costs nothing.

    Raises:
        ClusterError: the file is not a docker-archive, or an import failed.
    """
    identity = _identity(archive)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: _load(node, archive, identity), nodes))
