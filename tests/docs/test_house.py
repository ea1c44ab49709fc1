"""Sizes that CONTRIBUTING.md names."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "mrecg"
MOST_LINES, MOST_PARAMETERS = 300, 7
FREE = {
    ("api/functions.py", "quantize"),
    ("api/resuming.py", "resume"),
    ("api/sensitivity.py", "sensitivity"),
    ("sweep/search.py", "__init__"),
}
"""A user's face, and what Hydra calls with a sweeper's configuration; kernels take numbers by place."""


def functions(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [part.arg for part in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            names += [part.arg for part in (given.vararg, given.kwarg) if part is not None]
            yield node.name, len(names) - (names[:1] in (["self"], ["cls"]))


def test_no_file_is_long() -> None:
    lines = {file: len(file.read_text().splitlines()) for file in SOURCE.rglob("*.py")}
    assert len(lines) > 200
    assert not {str(file): count for file, count in lines.items() if count > MOST_LINES}


def test_no_function_takes_many_arguments() -> None:
    found = {
        (file.relative_to(SOURCE).as_posix(), name)
        for file in SOURCE.rglob("*.py")
        if "kernels" not in file.parts
        for name, count in functions(file)
        if count > MOST_PARAMETERS
    }
    assert found == FREE
