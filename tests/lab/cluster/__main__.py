"""The cluster by itself: ``python -m lab.cluster up|down|status|kubeconfig|lose|restore``."""

from __future__ import annotations

import argparse
import sys

from lab.cluster import ClusterError, get_cluster
from lab.kubectl import CommandError


def main() -> int:
    """Run one verb; the exit status is 1 when it failed or ``status`` found it ill."""
    parser = argparse.ArgumentParser(prog="python -m lab.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("up", "bring the cluster up, or repair it"),
        ("down", "take it down and leave nothing behind"),
        ("status", "show nodes and processes"),
        ("kubeconfig", "print the path of the kubeconfig"),
    ):
        verbs.add_parser(verb, help=text)
    for verb, text in (("lose", "make a node vanish"), ("restore", "bring a lost node back")):
        verbs.add_parser(verb, help=text).add_argument("node")
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except (ClusterError, CommandError, FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    cluster = get_cluster()
    match arguments.verb:
        case "up":
            cluster.create()
        case "down":
            cluster.destroy()
        case "lose":
            cluster.lose_node(arguments.node)
        case "restore":
            cluster.restore_node(arguments.node)
        case "kubeconfig":
            sys.stdout.write(f"{cluster.kubeconfig()}\n")
        case "status":
            status = cluster.status()
            sys.stdout.write(f"{status}\n")
            return 0 if status.healthy else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
