"""Numbers of runs in one file: the same after a round trip, without paths; and files that are none."""

import doctest
import json
import math

import pytest

from mrecg.cli.report import main
from mrecg.errors import ConfigError, DataError
from mrecg.report import collection, find_runs, load_run
from mrecg.report.collection import described, read_collection, record, without_paths, write_collection
from mrecg.report.compare import sort_key
from mrecg.runs.summary import RunSummary

KEPT = set(RunSummary.model_fields) - {"run_name", "group_results"}


@pytest.fixture
def runs(runs_root):
    return [load_run(path) for path in find_runs([runs_root])]


@pytest.fixture
def file(runs, tmp_path):
    return write_collection(described(runs), tmp_path / "a" / "runs.json")


def edited(file, change):
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def test_a_round_trip_keeps_every_number(runs, file):
    read = read_collection(file)
    assert len(read) == len(runs) == 9
    for run, other in zip(sorted(runs, key=sort_key), read, strict=True):
        assert run.name == other.name
        assert run.model_dump(include=KEPT) == other.model_dump(include=KEPT)
        assert run.plan == other.plan and run.completed == other.completed
        assert other.environment.items() <= run.environment.items() and not other.curves


def test_a_file_of_a_file_is_the_same_file(file, tmp_path):
    again = write_collection(described(read_collection(file)), tmp_path / "again.json")
    assert again.read_text() == file.read_text()
    assert again.read_text().count("\n") == 9 + 5  # a run is a line


def test_the_file_does_not_depend_on_the_order_of_the_runs(runs):
    assert list(described(runs)) == list(described(runs[::-1]))


def test_no_path_of_the_machine_is_kept_and_options_stay_apart(tmp_path, folders):
    secret = {
        "weights": {"origin": "/home/me/secret/net.pth", "sha256": "ab"},
        "notes": ["labels from C:\\Users\\secret\\classes.txt, ~/secret/b and file:///srv/secret/c"],
        "calibration": {"images": 3, "folders": [{"at": "/mnt/secret/train"}]},
    }
    made = []
    for number, place in enumerate(("/home/me/secret/a/x.bin", "/home/me/secret/b/x.bin")):
        extra = {**secret, "options": {"method.file": place}}
        made.append(load_run(folders.write_run(tmp_path / str(number), summary_extra=extra)))
    made.append(load_run(folders.write_failed(tmp_path / "f", error="/home/me/secret/z: no such file")))
    first, second, failed = sorted((record(run) for run in made), key=lambda one: "error" in one["summary"])
    assert "secret" not in json.dumps([first, second, failed])
    assert first["summary"]["weights"]["origin"] == "net.pth"
    assert first["summary"]["notes"] == ["labels from classes.txt, b and c"]
    assert failed["summary"]["error"] == "z: no such file"
    options = [one["summary"]["options"]["method.file"] for one in (first, second)]
    assert options[0] != options[1] and all(text.startswith("x.bin (") for text in options)


@pytest.mark.parametrize(
    "text", ["W4/A4", "3 / 4", "a/b/c", "pkg://a/b", "https://host/a/b?c=d", "layer1.0", "–"]
)
def test_what_is_no_path_stays(text):
    assert without_paths({text: [text]}) == {text: [text]}


def test_numbers_that_are_none_stay_none(tmp_path, folders):
    run = folders.write_run(tmp_path / "run", evaluated=False)
    summary = json.loads((run / "summary.json").read_text())
    summary["oscillation"]["error_index"] = summary["units"][3]["error"] = math.nan
    (run / "summary.json").write_text(json.dumps(summary))
    (read,) = read_collection(write_collection(described([load_run(run)]), tmp_path / "a.json"))
    assert read.quantized is None and math.isnan(read.oscillation.error_index)
    assert math.isnan(read.units[3].error) and not math.isnan(read.units[4].error)


def test_an_old_run_without_groups_is_kept_with_those_of_its_plan(tmp_path, folders):
    run = folders.write_run(tmp_path / "run", merged=folders.merged)
    summary = json.loads((run / "summary.json").read_text())
    del summary["groups"], summary["merge_count"]
    (run / "summary.json").write_text(json.dumps(summary))
    (read,) = read_collection(write_collection(described([load_run(run)]), tmp_path / "a.json"))
    assert read.merged == folders.merged and read.merge_count == 4


def test_of_many_runs_the_plans_are_kept_too(runs_root, file, tmp_path, monkeypatch):
    monkeypatch.setattr("mrecg.report.gather.ALL_DETAILED", 3)
    monkeypatch.setattr("mrecg.report.gather.MOST_DETAILED", 2)
    main([str(runs_root), "--json", str(tmp_path / "many.json")])
    assert (tmp_path / "many.json").read_text() == file.read_text()


def test_a_run_and_a_file_that_has_it_are_one(runs_root, file, tmp_path, capsys):
    main([str(file), str(runs_root), "--json", str(tmp_path / "both.json")])
    assert (tmp_path / "both.json").read_text() == file.read_text()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(" qdrop ") and "%" in line for line in lines) == 4


def test_a_broken_run_is_left_out_with_a_line(runs_root, tmp_path, capsys):
    broken = next(runs_root.rglob("3/summary.json"))
    broken.write_text("{")
    main([str(runs_root), "--json", str(tmp_path / "a.json")])
    assert capsys.readouterr().err.startswith(f"mrecg: left out: {broken}: ")
    assert len(read_collection(tmp_path / "a.json")) == 8


def test_groups_of_other_units_are_refused_before_they_are_kept(tmp_path, folders):
    run = folders.write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["groups"] = summary["groups"][:-1]
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match=r"run: the groups do not hold every unit"):
        described([load_run(run)])


def of_run(**changes):
    return lambda values: values["runs"][1]["summary"].update(changes)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda values: values.update(schema_version=2), "schema_version 2 was made by a newer version"),
        (lambda values: values.update(schema_version="x"), "schema_version 'x' is not right"),
        (lambda values: values.pop("runs"), "holds no list of runs; name run folders"),
        (lambda values: values.update(runs={}), "holds no list of runs; name run folders"),
        (lambda values: values.update(runs=[]), "no run in it; name run folders"),
        (lambda values: values["runs"].insert(1, 3), "run 2: is no run; write it again"),
        (lambda values: values["runs"][1].update(plan=[1]), "run 2: is no run; write it again"),
        (lambda values: values["runs"][1].pop("summary"), "run 2: key 'summary' is missing; write it again"),
        (
            lambda values: values["runs"][1]["summary"].pop("seed"),
            "run 2: key 'seed' is missing; write it again",
        ),
        (of_run(schema_version=9), "run 2: schema_version 9 was made by a newer version"),
        (of_run(quantized={"top1": 7}), "run 2: key 'quantized' is not as expected"),
        (of_run(units=[{"name": "a"}]), "run 2: key 'units' is not as expected"),
        (of_run(groups=[["a"]]), "run 2: the groups do not hold every unit"),
        (of_run(steps=math.inf), "run 2: key 'steps' is not as expected"),
        (lambda values: values["runs"][1]["plan"].update(units=[]), "run 2: "),
        (lambda values: values["runs"][1]["plan"].update(code="x"), "run 2: plan"),
        (
            lambda values: values["runs"][1]["plan"]["criteria"][0].update(capacities=[1.0]),
            "has 1 capacities",
        ),
        (lambda values: values["runs"][1]["plan"]["criteria"][0].update(differences=[]), "and 0 differences"),
        (
            lambda values: values["runs"][1]["summary"]["units"][0].update(group=99),
            "it names a group that is not",
        ),
    ],
)
def test_a_damaged_file_is_one_line(file, change, why, capsys):
    edited(file, change)
    with pytest.raises(DataError) as refused:
        main([str(file), "--markdown"])
    assert str(refused.value).startswith(f"{file}: ") and why in str(refused.value)
    assert "\n" not in str(refused.value) and "folder out of the report" not in str(refused.value)
    assert capsys.readouterr().out == ""


def test_a_summary_decides_nothing_but_its_own_keys(file):
    edited(file, of_run(path="/etc", detailed=False, curves=[1], config=[2], command=3, plan=4))
    run = read_collection(file)[1]
    assert run.path.parent == file and run.detailed and run.plan and run.curves == () and run.config == ""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not readable as JSON"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b'{"runs": [', "not readable as JSON"),
        (b"[]", "holds a list, not an object; name run folders"),
        (b'{"a":' * 5000, "not readable as JSON"),
        (b"import os; os.abort()", "not readable as JSON"),
        (b'{"status": "completed", "run_name": "a summary"}', "holds no list of runs; name run folders"),
    ],
)
def test_a_file_of_something_else_is_one_line(content, why, tmp_path):
    file = tmp_path / "some.txt"
    file.write_bytes(content)
    with pytest.raises(DataError) as refused:
        main([str(file)])
    assert f"{file}: {why}" in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"no\.json: missing; name run folders, or a file of mrecg report --json"
    ):
        main([str(tmp_path / "no.json")])


def test_nothing_but_such_a_file_is_replaced(runs_root, file, tmp_path):
    summary = next(runs_root.rglob("0/summary.json"))
    before = summary.read_bytes()
    (tmp_path / "folder.json").mkdir()
    for target, why in (
        (summary, r"summary\.json: is there and is no such file"),
        (tmp_path / "folder.json", "is there and is no such file"),
        (tmp_path / "a.md", r"a\.md: FILE must end in \.json"),
    ):
        with pytest.raises(ConfigError, match=why):
            main([str(runs_root), "--json", str(target)])
    assert summary.read_bytes() == before
    main([str(summary.parent), "--json", str(file)])
    assert len(read_collection(file)) == 1


def test_the_examples_in_the_docstrings_are_right():
    assert doctest.testmod(collection).failed == 0
