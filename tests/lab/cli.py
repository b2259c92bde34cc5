"""``lab``: the cluster, the images, the demo and the generated files, by one command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.cluster import ClusterError, get_cluster
from lab.images import ImageError
from lab.images import build as build_images
from lab.kubectl import CommandError
from lab.services import ServicesError
from lab.version import VersionError, release_notes


def main() -> None:
    """Run the verb named on the command line."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="bring up the cluster")
    verbs.add_parser("down", help="take the cluster down")
    verbs.add_parser("status", help="show the cluster")
    verbs.add_parser("images", help="build the images")
    verbs.add_parser("test", help="run every test")
    verbs.add_parser("generate", help="write generated files anew")
    notes = verbs.add_parser("release-notes", help="print what the changelog says of a tagged version, if all is of it")
    notes.add_argument("tag", help="such as v0.1.0")
    package = verbs.add_parser("package", help="package the chart as it is published, with the digest of its image")
    package.add_argument("tag", help="such as v0.1.0")
    package.add_argument("--registry", required=True, help="where the image is, such as ghcr.io/my-team")
    package.add_argument("--digest", required=True, help="the image's, sha256:…")
    package.add_argument("--source", required=True, help="the repository's address, https://…")
    package.add_argument("--destination", type=Path, required=True, help="folder for the package")
    demo = verbs.add_parser("demo", help="hold calls, disrupt the fleet, report")
    demo.add_argument("--calls", type=int, default=4, help="calls at once (default 4: two cores carry no more)")
    demo.add_argument(
        "--disruption",
        choices=["upgrade,kill", "upgrade", "kill", "kill-all", "none"],
        default="upgrade,kill",
        help="what happens to the fleet while the calls are live: replace every pod by helm upgrade, then kill the "
        "pod with the most calls (default), one of the two, kill every pod without grace, or nothing",
    )
    demo.add_argument("--no-drain", action="store_true", help="let pods drop their calls when they must go")
    demo.add_argument("--no-keeper", action="store_true", help="let the calls of pods that die stay without an agent")
    demo.add_argument("--down", action="store_true", help="take the cluster down afterwards")
    dev = verbs.add_parser("dev", help="one agent and one caller as plain processes")
    dev.add_argument("--questions", type=int, default=2, help="questions that the caller asks (default 2)")
    args = parser.parse_args()
    try:
        sys.exit(_run(args))
    except (
        ClusterError,
        CommandError,
        ImageError,
        ServicesError,
        VersionError,
        FileNotFoundError,
        TimeoutError,
    ) as error:
        sys.exit(f"lab {args.verb}: {error}")


def _run(args: argparse.Namespace) -> int:
    match args.verb:
        case "up":
            get_cluster().create()
        case "down":
            get_cluster().destroy()
        case "status":
            status = get_cluster().status()
            print(status)
            return 0 if status.healthy else 1
        case "images":
            for archive in build_images():
                print(archive)
        case "test":
            from lab.suites import run as run_tests

            return run_tests()
        case "generate":
            from lab.generate import generate

            generate()
        case "release-notes":
            print(release_notes(args.tag), end="")
        case "package":
            from lab.package import package

            print(package(args.tag, args.registry, args.digest, args.source, args.destination))
        case "demo":
            from lab.demo import DemoOptions, run

            options = DemoOptions(
                args.calls, args.disruption, drain=not args.no_drain, keeper=not args.no_keeper, down=args.down
            )
            return run(options)
        case "dev":
            # The callers' and the agent's libraries take seconds to import; the other verbs need none of them.
            from lab.dev import run as run_dev

            return run_dev(args.questions)
    return 0
