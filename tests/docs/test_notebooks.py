import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parents[2] / "docs" / "getting-started"
NAMES = ("quick-start-python", "own-network")
MACHINE = re.compile(r"(?<![\w.])/(home|root|tmp|work|usr|opt|mnt|data|Users|var)/|[A-Z]:\\\\|ipykernel_\d+")
WIDTH = 110
"""As code of the package."""


def stored(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def text_of(cell: Any) -> str:
    """What a cell of code has written or shown, as text."""
    shown = (out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)
    return "\n".join(shown)


def cell_with(book: Any, source: str) -> Any:
    (found,) = [cell for cell in book.cells if cell.cell_type == "code" and source in cell.source]
    return found


def top1_of(text: str) -> float:
    return float(re.search(r"top-1 ([\d.]+) % quantized", text)[1])


def test_both_notebooks_are_there() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


def test_no_notebook_has_the_address_of_another_page() -> None:
    pages = [path.with_suffix("") for kind in ("md", "ipynb") for path in FOLDER.parent.rglob(f"*.{kind}")]
    assert len(pages) == len(set(pages))  # the site would show only one of two


@pytest.mark.parametrize("name", NAMES)
class TestStored:
    def test_is_valid_and_has_no_path_of_a_machine(self, name: str) -> None:
        book = stored(name)
        nbformat.validate(book)
        found = MACHINE.search((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert found is None, found

    def test_keeps_outputs_but_no_errors_warnings_or_times(self, name: str) -> None:
        cells = [cell for cell in stored(name).cells if cell.cell_type == "code"]
        assert sum(bool(cell.outputs) for cell in cells) >= 4
        for out in (out for cell in cells for out in cell.outputs):
            assert out.output_type != "error" and out.get("name") != "stderr"
        assert not any(cell.metadata for cell in cells)  # nbclient notes when a cell ran

    def test_lines_are_short_and_cells_explained(self, name: str) -> None:
        cells = stored(name).cells
        assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
        for cell in cells:
            limit = 100 if cell.cell_type == "markdown" else WIDTH
            long = [line for line in cell.source.splitlines() if len(line) > limit and "](" not in line]
            assert not long

    def test_its_links_lead_somewhere(self, name: str) -> None:
        pages = (FOLDER.parents[1] / "mkdocs.yml").read_text(encoding="utf-8")
        cells = [cell.source for cell in stored(name).cells if cell.cell_type == "markdown"]
        for target in re.findall(r"\]\(([^)#]+)", "\n".join(cells)):
            page = (FOLDER / target).resolve().relative_to(FOLDER.parent.resolve())
            assert f"- {page.as_posix()}\n" in pages


def executed(name: str, folder: Path) -> Any:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("pandas")
    book = stored(name)
    nbclient.NotebookClient(book, timeout=900, resources={"metadata": {"path": folder}}).execute()
    return book


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quick_start_quantizes_with_and_without_merging(tmp_path: Path) -> None:
    book = executed("quick-start-python", tmp_path)
    block = text_of(cell_with(book, 'granularity="block"'))
    merged = text_of(cell_with(book, 'granularity="mixed"'))
    assert "0 of them merged" in block and "4 of them merged" in merged
    assert top1_of(block) > 75 and top1_of(merged) > 85  # as the notebook shows: far above chance
    assert "weights 167.1 kB, 1,607.6 kB before" in merged
    (table,) = cell_with(book, 'frame[["unit"').outputs
    assert table.data["text/html"].count("<tr") == 20  # the heading and 19 units
    assert any("image/png" in out.get("data", {}) for out in cell_with(book, "plt.subplots").outputs)
    assert text_of(cell_with(book, "mrecg.load")).strip().endswith(": True")
    assert "weights in 167078 bytes instead of 1607592" in text_of(cell_with(book, "mrecg.export"))
    assert (tmp_path / "runs" / "quick-start" / "report.html").is_file()
    assert (tmp_path / "packed.safetensors").stat().st_size < 180_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_own_network_is_interrupted_resumed_exported_and_listed(tmp_path: Path) -> None:
    import mrecg

    book = executed("own-network", tmp_path)
    assert "interrupted: the light went out" in text_of(cell_with(book, "PowerCut"))
    runs = mrecg.read_runs(tmp_path / "runs").set_index("method")
    assert sorted(runs.index) == ["qdrop", "rtn"]
    assert runs["metric_accuracy_fp"].min() > 0.95
    assert runs["metric_accuracy"]["qdrop"] > runs["metric_accuracy"]["rtn"] + 0.05
    verdicts = text_of(cell_with(book, "plan.verdicts")).splitlines()[-1]
    assert verdicts.split()[-1] in ("kept", "refused")
    assert text_of(cell_with(book, "mrecg.export")).strip().endswith("same outputs: True")
