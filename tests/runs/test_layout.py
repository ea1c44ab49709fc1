"""Names of files in run folders are spelt in one place."""

import ast
from pathlib import Path

from mrecg.runs import layout

SOURCE = Path(layout.__file__).parents[1]
NAMES = {
    value
    for key, value in vars(layout).items()
    if isinstance(value, str) and key.isupper() and ("." in value[1:] or key == "CURVES")
}
ELSEWHERE = {
    *((f"{module}.py", "config.yaml") for module in ("config/paths", "config/hydra_compose", "cli/help")),
    ("config/hydra_compose.py", "multirun.yaml"),
    ("report/page/write.py", "curves"),
    ("runs/load.py", "curves"),
}
"""The package's own configuration, what Hydra writes below `runs`, a section of the page, and a field."""


def test_no_other_module_spells_the_name_of_a_file() -> None:
    assert {"summary.json", "sweep.json", "quantized.safetensors", "curves"} <= NAMES
    found = set()
    for file in SOURCE.rglob("*.py"):
        if file.name != "layout.py":
            constants = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)]
            spelt = {node.value for node in constants if isinstance(node.value, str)}
            found |= {(file.relative_to(SOURCE).as_posix(), name) for name in spelt & NAMES}
    assert found == ELSEWHERE
