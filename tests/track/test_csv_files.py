import csv
from pathlib import Path

from mrecg.reconstruct.events import CurvePoint, FinishPoint, UnitResult
from mrecg.track.csv_files import CsvFiles


def point(step: int, rounding: float | None = None) -> CurvePoint:
    return CurvePoint(step=step, reconstruction=1.5, rounding=rounding, total=2.0, beta=None)


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_curves_and_units_are_appended(tmp_path: Path) -> None:
    files = CsvFiles(tmp_path)
    files.begin(["a+b"], 4)
    files.curve("a+b", "joint", [point(0), point(1, 0.25)], 2)
    files.curve("a+b", "joint", [point(3)], 2)
    files.unit(0, UnitResult(name="a", group=0, error=0.125, loss=3.0))
    files.unit(1, UnitResult(name="b", group=0, error=0.25, loss=4.0))
    assert read(tmp_path / "curves" / "a+b.csv") == [
        ["step", "reconstruction", "rounding", "total", "beta", "prediction"],
        ["0", "1.5", "", "2.0", "", ""],
        ["1", "1.5", "0.25", "2.0", "", ""],
        ["3", "1.5", "", "2.0", "", ""],
    ]
    assert read(tmp_path / "units.csv") == [
        ["index", "name", "group", "error", "loss"],
        ["0", "a", "0", "0.125", "3.0"],
        ["1", "b", "0", "0.25", "4.0"],
    ]


def test_a_second_pass_has_files_of_its_own(tmp_path: Path) -> None:
    files = CsvFiles(tmp_path)
    for task in ("rounding", "scales"):
        files.begin(["a"], 1)
        files.curve("a", task, [point(0)], 1)
    assert sorted(path.name for path in (tmp_path / "curves").iterdir()) == ["a.csv", "a.scales.csv"]


def test_a_new_run_in_the_folder_starts_anew(tmp_path: Path) -> None:
    for group in ("old", "new", "new"):
        files = CsvFiles(tmp_path)
        files.begin([group], 1)
        files.curve(group, "joint", [point(0)], 1)
        files.unit(0, UnitResult(name=group, group=0, error=0.0, loss=0.0))
    assert [path.name for path in (tmp_path / "curves").iterdir()] == ["new.csv"]
    assert len(read(tmp_path / "curves" / "new.csv")) == 2 == len(read(tmp_path / "units.csv"))


def test_the_curve_of_a_finishing_is_appended_and_not_that_of_an_earlier_run(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        files = CsvFiles(tmp_path)
        assert not (tmp_path / "finishing.csv").exists()
        files.finishing([FinishPoint(step=0, loss=None, held_out=0.5)], 0)
        files.finishing([FinishPoint(step=1, loss=loss, held_out=None)], 1)
    assert read(tmp_path / "finishing.csv") == [
        ["step", "loss", "held_out"],
        ["0", "", "0.5"],
        ["1", "2.0", ""],
    ]
