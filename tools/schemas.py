#!/usr/bin/env python3
"""Write the JSON schemas of one Kubernetes version where kubeconform finds them without the internet.

They come from the Python package kubernetes-validate, so this runs in the project's environment. Printed is what
kubeconform wants as ``-schema-location``; give it ``-strict`` and ``-kubernetes-version`` too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from importlib.metadata import version as package_version
from importlib.resources import as_file, files
from pathlib import Path

SCHEMAS = Path(__file__).parents[1] / ".build" / "schemas"


def write(version: str, folder: Path = SCHEMAS) -> Path:
    """Write the schemas of Kubernetes ``version`` (``1.35.0``), unless they are there, and return their location.

    Raises:
        ValueError: the package has no schemas of that version.
    """
    location = folder / package_version("kubernetes-validate")
    written = location / f"v{version}-standalone-strict"
    if written.is_dir():
        return location
    with as_file(files("kubernetes_validate") / "kubernetes-json-schema") as shipped:
        source = shipped / f"v{version}-local-strict"
        if not source.is_dir():
            known = sorted(path.name.removesuffix("-local")[1:] for path in shipped.glob("*-local"))
            raise ValueError(f"no schemas of Kubernetes {version!r}: use one of {', '.join(known)}")
        unfinished = location / f".{written.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for path in source.glob("*.json"):
            (unfinished / path.name).write_text(_local(path.read_text()))
    unfinished.replace(written)
    return location


def _local(schema: str) -> str:
    """The schema without its address, against which its references would be looked up on the internet."""
    document = json.loads(schema)
    document.pop("$id", None)
    return json.dumps(document).replace('"/api/_definitions.json#', '"_definitions.json#')


def main() -> None:
    """Parse the command line, write the schemas and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="the Kubernetes version, for example 1.35.0")
    try:
        print(write(parser.parse_args().version))
    except ValueError as error:
        sys.exit(f"schemas: {error}")


if __name__ == "__main__":
    main()
