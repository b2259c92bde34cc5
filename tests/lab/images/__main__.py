"""``python -m lab.images``: build images, or list them."""

from __future__ import annotations

import argparse
import sys

from lab.images import RECIPES, ImageError, build


def main() -> None:
    """Build the named images, or show which there are and whether they are built."""
    parser = argparse.ArgumentParser(prog="python -m lab.images", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    building = verbs.add_parser("build", help="build images (the default: all) and print their archives")
    building.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    verbs.add_parser("list", help="show every image, and its archive if it is built")
    args = parser.parse_args()
    try:
        if args.verb == "list":
            for recipe in RECIPES.values():
                image = recipe()
                print(f"{image.reference:<44}{image.archive if image.archive.exists() else 'not built'}")
        else:
            for archive in build(*getattr(args, "names", ())):
                print(archive)
    except (ImageError, FileNotFoundError) as error:
        sys.exit(f"images: {error}")


if __name__ == "__main__":
    main()
