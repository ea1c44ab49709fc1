"""docs/results.md is what the generator makes of the numbers beside it, and the generator is right."""

import doctest
import json
import sys
from pathlib import Path

import pytest
import yaml

from mrecg.config.validate import plain, run_config
from mrecg.errors import DataError
from mrecg.planner.schedule import Plan

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import make_results  # noqa: E402
from results import words  # noqa: E402
from results.collect import collect, dump  # noqa: E402
from results.records import gather  # noqa: E402
from results.views import VIEWS  # noqa: E402

UNITS = ("stem", "layer1.0", "layer1.1", "layer2.0", "head")
PAIR = (("layer1.0", "layer1.1"),)
BLOCK, MIXED = {"granularity": {"name": "block"}}, {"granularity": {"name": "mixed"}}
ERRORS = (0.1, 0.3, 0.2, 0.4, 0.05)
"""Travels 0.2 + 0.1 + 0.2 + 0.35 = 0.85 for a change of 0.05: index 0.8, peak 0.4."""


def write_run(folder, *, changes=None, seed=0, top1=0.8, scale=1, groups=(), seconds=10, status="completed"):
    """Write a run folder as a run does; the numbers are those of ERRORS times a scale."""
    values = {
        "model": {
            **{"source": "target", "target": "somewhere.net", "name": "net", "input_shape": [3, 32, 32]},
            "checkpoint": "/home/me/secret/net.pth",
        },
        "data": {"source": "image_folder", "name": "pictures", "calibration_path": "/home/me/secret/train"},
        "trainer": {"steps": 1000, "threads": 1},
        "cache": {"folder": "/home/me/secret/cache"},
        "seed": seed,
    }
    for group, change in {"method": {"name": "qdrop"}, **BLOCK, **(changes or {})}.items():
        values[group] = {**values.get(group, {}), **change}
    config = run_config(values)
    grouped = [*groups, *((unit,) for unit in UNITS if not any(unit in group for group in groups))]
    grouped.sort(key=lambda group: UNITS.index(group[0]))
    plan = Plan(granularity=config.granularity.name, units=UNITS, groups=tuple(grouped))
    units = [
        {"name": name, "group": plan.group_of(name), "error": scale * error, "loss": 1000 * scale * error}
        for name, error in zip(UNITS, ERRORS, strict=True)
    ]
    oscillation = {"error_index": 0.8, "error_peak": 0.4, "loss_index": 800.0, "loss_peak": 400.0}
    summary = {
        **{"schema_version": 1, "status": status, "model": config.model.name, "data": config.data.name},
        **{"bits": {"weight": config.bits.weight, "activation": config.bits.activation}, "seed": seed},
        **{"method": config.method.name, "granularity": config.granularity.name, "planner": ""},
        **{"groups": plan.groups, "steps": config.trainer.steps, "device": "cpu", "units": units},
        "weights": {"origin": "/home/me/secret/net.pth", "sha256": "12ab" * 16},
        "preprocessing": {"input_shape": [3, 32, 32]},
        **{"fp": {"top1": 0.9}, "quantized": {"top1": top1}, "evaluation_images": 900},
        "oscillation": {key: scale * value for key, value in oscillation.items()},
        "timing_s": {"plan": 1.0, "calibrate": 2.0, "reconstruct": seconds - 4, "evaluate": 1.0},
    }
    environment = {"mrecg": "0.1.0", "torch": "2.15.0", "device": "cpu", "device_name": "X", "threads": 1}
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    for file, content in (("plan", plan.as_dict()), ("summary", summary), ("environment", environment)):
        (folder / f"{file}.json").write_text(json.dumps(content))
    return folder


def cells(text, line):
    """The cells of one line of a table."""
    return [cell.strip() for cell in text.splitlines()[line].strip("|").split("|")]


@pytest.fixture
def folders(tmp_path):
    """Round to nearest, blocks in three seeds and merged in two at W2A4, and blocks at W4A4."""
    root = tmp_path / "runs"
    made = [write_run(root / "rtn", changes={"method": {"name": "rtn"}}, top1=0.1, scale=2)]
    for seed, top1 in enumerate((0.80, 0.82, 0.84)):
        made.append(write_run(root / f"block{seed}", seed=seed, top1=top1, scale=1 + seed, seconds=10 + seed))
    mixed = {**MIXED, "planner": {"name": "loss", "merge_count": 1}}
    for seed, top1 in enumerate((0.85, 0.86)):
        made.append(write_run(root / f"mixed{seed}", changes=mixed, seed=seed, top1=top1, groups=PAIR))
    made.append(write_run(root / "wide", changes={"bits": {"weight": 4, "activation": 4}}, top1=0.89))
    return made


@pytest.fixture
def results(folders):
    return gather("some", json.loads(dump(collect(folders))))


def test_seeds_are_gathered_and_the_rest_is_kept_once(folders, results):
    assert [(c.width, c["method"], c["granularity"], c.seeds) for c in results.configurations] == [
        ("W4A4", "qdrop", "block", (0,)),
        ("W2A4", "rtn", "block", (0,)),
        ("W2A4", "qdrop", "block", (0, 1, 2)),
        ("W2A4", "qdrop", "mixed", (0, 1)),
    ]
    assert results.shared["settings"] == {
        **{"model.name": "net", "model.input_shape": [3, 32, 32]},
        **{"data.name": "pictures", "data.calibration_images": 512, "data.evaluated_images": 900},
        **{"trainer.steps": 1000, "trainer.batch_size": 32, "trainer.lr_factor": 1.0},
        **{"weights": "net.pth", "weights_sha256": "12ab12ab12ab"},
    }
    assert results.units == UNITS
    mixed = results.configurations[-1]
    assert mixed["planner"] == {"name": "loss", "merge_count": 1}
    assert mixed["groups"] == [["layer1.0", "layer1.1"]]
    assert mixed["last_error"] == 0.05
    assert mixed["losses"] == [100, 300, 200, 400, 50]
    assert "units" not in collect(folders)["runs"][-1]


def test_the_file_does_not_depend_on_the_order_of_folders_and_holds_no_path(folders):
    text = dump(collect(folders))
    assert text == dump(collect(folders[::-1]))
    assert "secret" not in text and str(folders[0].parent) not in text
    assert "0.3" in text and "0.30000000000000004" not in text


def test_what_differs_from_the_defaults_is_kept(tmp_path):
    changes = {
        "method": {"name": "qdrop", "keep_probability": 1.0},
        "bits": {"boundary": None, "symmetric_weights": True},
        "trainer": {"steps": 500, "lr_factor": 4.0, "steps_per": "group"},
        "planner": {"name": "modcap", "merge_count": "auto", "difference": "log_ratio"},
        **MIXED,
    }
    (run,) = collect([write_run(tmp_path / "a", changes=changes)])["runs"]
    assert run["options"] == {"keep_probability": 1.0}
    assert run["bits"] == {"weight": 2, "activation": 4, "boundary": None, "symmetric_weights": True}
    assert run["planner"] == {"name": "modcap", "merge_count": "auto", "difference": "log_ratio"}
    shared = collect([tmp_path / "a"])["shared"]["settings"]
    assert shared["trainer.steps_per"] == "group" and shared["trainer.lr_factor"] == 4


def test_runs_that_are_not_completed_are_refused(tmp_path):
    failed = write_run(tmp_path / "failed", status="failed")
    for folder, why in ((failed, r"failed: .*\(failed\)"), (tmp_path / "begun", r"begun: .*\(no summary")):
        with pytest.raises(DataError, match=why):
            collect([folder])


def test_runs_that_do_not_belong_together_are_refused(tmp_path):
    one, same = write_run(tmp_path / "one"), write_run(tmp_path / "same")
    other = write_run(tmp_path / "other", changes={"model": {"name": "another"}})
    for second, why in ((same, "same: the same configuration and seed as .*one"), (other, "model.name is")):
        with pytest.raises(DataError, match=why):
            collect([one, second])


def test_the_table(results):
    table = VIEWS["table"](results)
    assert cells(table, 0) == [
        *("bits", "method", "granularity", "seeds", "top-1 %, mean (least to largest)"),
        *("error index", "error peak", "loss index", "last error", "seconds", "merged groups"),
    ]
    few = ("0.800", "0.400", "800", "0.0500", "10")
    twice = ("1.60", "0.800", "1,600", "0.100")
    assert [cells(table, line) for line in (2, 3, 4, 5)] == [
        ["W4A4", "qdrop", "block", "1", "89.0", *few, "–"],
        ["W2A4", "rtn", "–", "1", "10.0", *twice, "10", "–"],
        # The scales of the seeds are 1, 2 and 3.
        ["W2A4", "qdrop", "block", "3", "82.0 (80.0 to 84.0)", *twice, "11", "–"],
        ["W2A4", "qdrop", "mixed: loss, k = 1", "2", "**85.5** (85.0 to 86.0)", *few, "layer1.0+1"],
    ]


def test_columns_that_do_not_vary_are_left_out(tmp_path):
    steps = [{"trainer": {"steps": n, "lr_factor": 1000 / n}} for n in (1000, 500)]
    made = [write_run(tmp_path / str(n), changes=change) for n, change in enumerate(steps)]
    table = VIEWS["table"](gather("some", collect(made)))
    assert cells(table, 0)[:3] == ["steps", "learning rates ×", "top-1 %"]
    assert [cells(table, line)[:3] for line in (2, 3)] == [
        ["500", "2", "**80.0**"],
        ["1,000", "1", "**80.0**"],
    ]
    alone = VIEWS["table"](gather("some", collect(made[:1])))
    assert cells(alone, 2)[:4] == ["W2A4", "qdrop", "block", "80.0"]


def test_options_and_conventions_are_said_where_they_differ(tmp_path):
    options = [{}, {"method": {"name": "qdrop", "keep_probability": 0.25}}, {"bits": {"stem_output": "high"}}]
    made = [write_run(tmp_path / str(n), changes=change) for n, change in enumerate(options)]
    table = VIEWS["table"](gather("some", collect(made)))
    assert [cells(table, line)[:2] for line in (2, 3, 4)] == [
        ["W2A4", "qdrop"],
        ["W2A4", "qdrop (keep_probability 0.25)"],
        ["W2A4, stem_output high", "qdrop"],
    ]


def test_numbers_that_are_missing_show_as_such(tmp_path):
    folder = write_run(tmp_path / "a")
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"fp": None, "quantized": None, "evaluation_images": 0}
    summary["oscillation"]["error_index"] = float("nan")
    (folder / "summary.json").write_text(json.dumps(summary))
    some = gather("some", json.loads(dump(collect([folder]))))
    assert cells(VIEWS["table"](some), 2)[3:6] == ["–", "–", "0.400"]
    assert "FP" not in VIEWS["settings"](some)


def test_merge_counts(tmp_path):
    made = [write_run(tmp_path / "block", top1=0.7)]
    for k, groups, top1 in ((1, PAIR, 0.75), (3, (("layer1.0", "layer1.1", "layer2.0"),), 0.8)):
        for seed in (0, 1):
            change = {**MIXED, "planner": {"name": "loss", "merge_count": k}}
            folder = tmp_path / f"{k}{seed}"
            made.append(write_run(folder, changes=change, groups=groups, seed=seed, top1=top1 + seed / 100))
    auto = {**MIXED, "planner": {"name": "loss", "merge_count": "auto"}}
    made.append(write_run(tmp_path / "auto", changes=auto, groups=PAIR, top1=0.75, scale=0.5))
    text = VIEWS["merge_count"](gather("some", collect(made)))
    assert cells(text, 0)[:3] == ["k", "seeds", "top-1 %, mean (least to largest)"]
    assert [cells(text, line) for line in (2, 3, 4, 5)] == [
        ["0 (block)", "1", "70.0", "0.800", "0.400", "800", "0.0500"],
        ["1", "2", "75.5 (75.0 to 76.0)", "0.800", "0.400", "800", "0.0500"],
        ["3 (2 merged)", "2", "**80.5** (80.0 to 81.0)", "0.800", "0.400", "800", "0.0500"],
        ["auto (1 merged)", "1", "75.0", "0.400", "0.200", "400", "0.0250"],
    ]
    assert text.endswith("](images/some-merge_count.png)")
    with pytest.raises(DataError, match="some: no two runs"):
        VIEWS["merge_count"](gather("some", collect(made[:2])))


def test_the_settings(results):
    assert VIEWS["settings"](results).splitlines() == [
        "- Network `net`: 3 × 32 × 32 pixels, 5 units, weights `net.pth` (sha256 12ab12ab12ab).",
        "- 512 calibration images, 1,000 steps a unit, batches of 32, learning rates × 1.",
        "- FP top-1 90.0 % on 900 images of `pictures` (one standard error there: 1.0 points).",
        "- Everything else by default; mrecg 0.1.0, torch 2.15.0, cpu (X), 1 thread.",
    ]


def test_the_curves_show_one_method_and_say_what_is_thick(results):
    assert VIEWS["curves"](results).splitlines() == [
        "![Relative error and reconstruction loss behind each unit of net, qdrop, W4A4 and W2A4]"
        "(images/some-curves.png)",
        "",
        "Means over the seeds. Merged groups are thick.",
    ]


def test_write_refreshes_its_blocks_alone_and_check_compares(tmp_path, folders, capsys):
    docs = tmp_path / "docs"
    docs.mkdir()
    page = docs / "results.md"
    before = "# Results\n\n<!-- results some: {} -->\nold\n<!-- end -->\n\nText.\n"
    page.write_text(before.format("table") + before.format("curves"))
    command = ["--docs", str(docs)]
    make_results.main([*command, "collect", "some", *map(str, folders)])
    with pytest.raises(SystemExit) as refused:
        make_results.main([*command, "check"])
    assert str(refused.value).count("\n") == 0
    assert "line 3: some: table is not what docs/results/some.json says" in str(refused.value)
    make_results.main([*command, "write"])
    make_results.main([*command, "check"])
    text = page.read_text()
    assert text.count("# Results\n\n<!-- results some: ") == text.count("<!-- end -->\n\nText.\n") == 2
    assert "old" not in text and "| W4A4 | qdrop | block |" in text
    picture = docs / "images" / "some-curves.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    make_results.main([*command, "write"])
    assert page.read_text() == text
    picture.unlink()
    with pytest.raises(SystemExit, match=r"some-curves\.png: missing"):
        make_results.main([*command, "check"])


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("<!-- results some table -->\n<!-- end -->\n", "wants <!-- results NAME: VIEW -->"),
        ("<!-- results some: table -->\n", "no <!-- end -->"),
        ("<!-- results some: tabel -->\n<!-- end -->\n", "did you mean 'table'"),
        ("<!-- results some: table -->\n<!-- end -->\n", "some.json: missing"),
    ],
)
def test_mistakes_in_the_page_are_one_line(tmp_path, page, why):
    (tmp_path / "results.md").write_text(page)
    with pytest.raises(SystemExit) as refused:
        make_results.main(["--docs", str(tmp_path), "write"])
    assert why in str(refused.value) and "\n" not in str(refused.value)
    assert (tmp_path / "results.md").read_text() == page


def test_the_examples_in_the_docstrings_are_right():
    assert doctest.testmod(words).failed == 0


def test_the_page_is_up_to_date_and_no_file_holds_a_path_of_a_machine():
    make_results.check()
    for file in (DOCS / "results").glob("*.json"):
        text = file.read_text()
        assert not any(part in text for part in ('"/', "/tmp/", "/home/")), file
