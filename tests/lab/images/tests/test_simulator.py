from __future__ import annotations

import ast

from lab.images.inputs import files
from lab.images.simulator import INPUTS, LAB


def test_image_holds_every_module_of_the_lab_that_the_simulator_imports() -> None:
    held = [file for part in INPUTS for file in (files(part) if part.is_dir() else [part])]
    wanted = {
        node.module
        for file in held
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lab")
    }
    names = {".".join(file.relative_to(LAB.parent).with_suffix("").parts).removesuffix(".__init__") for file in held}
    assert wanted - names == set()
