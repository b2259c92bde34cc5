from __future__ import annotations

from pathlib import Path

import pytest

import lab.images
from lab.images import Image, ImageError, build
from lab.images import image as image_module


class Recipe:
    """A recipe whose inputs a test changes, and which counts how often it is followed."""

    def __init__(self) -> None:
        self.key = "0" * 12
        self.made = 0
        self.fails = False

    def __call__(self) -> Image:
        return Image("thing", "example.org/thing:local", self.key, self._make)

    def _make(self, archive: Path) -> None:
        self.made += 1
        archive.write_text("half")
        if self.fails:
            raise ImageError("no")
        archive.write_text(self.key)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    made = Recipe()
    monkeypatch.setattr(lab.images, "RECIPES", {"thing": made})
    for module in (lab.images, image_module):
        monkeypatch.setattr(module, "IMAGES", tmp_path)
    return made


def test_nothing_is_built_twice_from_the_same_inputs(recipe: Recipe) -> None:
    assert build() == build("thing")
    assert recipe.made == 1


def test_changed_inputs_make_a_new_archive_in_place_of_the_old_one(recipe: Recipe) -> None:
    [old] = build()
    recipe.key = "1" * 12
    [new] = build()
    assert new.read_text() == "1" * 12
    assert not old.exists()


def test_failed_build_leaves_no_archive_that_the_next_run_would_take(recipe: Recipe) -> None:
    recipe.fails = True
    with pytest.raises(ImageError):
        build()
    recipe.fails = False
    [archive] = build()
    assert archive.read_text() == "0" * 12


def test_unknown_image_is_named_with_those_there_are(recipe: Recipe) -> None:
    with pytest.raises(ImageError, match="no image thinf: there are thing"):
        build("thinf")
