#!/usr/bin/env python3
"""Print where on this machine the CRDs are of what clusters have installed beside the chart, a file a line.

They come with the operators' Go modules, which are pinned in crds/go.mod and checked against its go.sum.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

# A script finds what is in its own folder; mypy knows it by another name.
from build import TOOLS, BuildError, find_go, needed_go  # type: ignore[import-not-found]

# By module: one file for each kind of theirs that the chart has objects of.
FILES = {
    "github.com/external-secrets/external-secrets": ("config/crds/bases/external-secrets.io_externalsecrets.yaml",),
    "github.com/kedacore/keda/v2": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "k8s.io/autoscaler/vertical-pod-autoscaler": ("deploy/vpa-v1-crd-gen.yaml",),
}


def files() -> list[Path]:
    """Fetch the modules that are not there, and return the files.

    Raises:
        BuildError: there is no Go, or a module could not be had.
    """
    go, _ = find_go(needed_go())
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [str(go), "mod", "download", "-json"]
    done = subprocess.run(command, cwd=TOOLS / "crds", env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(
            f"the modules of tools/crds could not be had:\n{done.stdout}{done.stderr}"
            f"Next: is the Go module proxy reachable (`{go} env GOPROXY`)?"
        )
    folders = {module["Path"]: Path(module["Dir"]) for module in _objects(done.stdout)}
    return [folders[module] / file for module, names in FILES.items() for file in names]


def _objects(text: str) -> list[dict[str, str]]:
    """The JSON objects of a text that has one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:]
    return found


def main() -> None:
    """Print the files."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        print("\n".join(map(str, files())))
    except BuildError as error:
        sys.exit(f"crds: {error}")


if __name__ == "__main__":
    main()
