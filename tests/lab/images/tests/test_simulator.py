from __future__ import annotations

import ast

from lab.images.simulator import LAB, sources


def test_image_holds_every_module_of_the_lab_that_the_simulator_imports() -> None:
    wanted = {
        node.module
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lab")
    }
    names = {
        ".".join(file.relative_to(LAB.parent).with_suffix("").parts).removesuffix(".__init__") for file in sources()
    }
    assert wanted - names == set()
