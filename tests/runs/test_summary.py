"""The record behind summary.json: written to the letter, read with care."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mrecg.errors import DataError
from mrecg.runs import summary
from mrecg.runs.summary import RunSummary
from mrecg.runs.summary_parts import Accuracy, Bits

FILE = Path("summary.json")
RECORDED = (Path(__file__).parents[1] / "assets" / "recorded_summary.json").read_text()
"""What the version before `RunSummary` has written."""
SOURCE = Path(summary.__file__).parents[1]


@pytest.fixture
def values() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED)
    return found


def test_what_was_written_is_written_again_to_the_letter(values: dict[str, Any]) -> None:
    made = RunSummary.model_validate(values)
    assert json.dumps(made.as_dict(), indent=2) + "\n" == RECORDED
    assert type(made.as_dict()["reused_s"]["reconstruct"]) is int  # the sum of nothing, as ever
    later = (
        "finish",
        "to_fp",
        "rebasis",
        "verdicts",
        "block_errors",
        "evaluation_errors",
        "weight_ranges",
        "activation_ranges",
        "metrics",
        "layer_bits",
        "average_bits",
        "output_error",
    )  # a run that was finished, or measured, by a newer version has them
    own = [key for key in RunSummary.model_fields if key not in later]
    assert own[:-1] == [*values]  # a failed run has its error after these


def test_what_is_not_finite_is_written_as_it_is(values: dict[str, Any]) -> None:
    values["units"][0]["error"], values["oscillation"]["error_peak"] = math.nan, math.inf
    made = RunSummary.model_validate(values)
    assert json.dumps(made.as_dict()) == json.dumps(values)
    read = RunSummary.read(values, FILE)
    assert math.isnan(read.units[0].error) and read.oscillation is not None
    assert math.isnan(read.oscillation.error_peak)


def test_a_failed_run_says_no_more_than_why() -> None:
    made = RunSummary.failed("mine", "out of memory")
    text = '{"schema_version": 1, "run_name": "mine", "status": "failed", "error": "out of memory"}'
    assert json.dumps(made.as_dict()) == text
    read = RunSummary.read(json.loads(text), FILE)
    assert (read.completed, read.error, read.widths, read.quantized) == (False, "out of memory", "", None)


def test_it_is_read_with_its_conversions(values: dict[str, Any]) -> None:
    read = RunSummary.read(values, FILE)
    assert read.options == {"calibration.bins": "64", "calibration.candidates": "4"}
    assert read.widths == "W2A4" and read.precision == "32" and read.optimisation_steps
    assert read.total_seconds == 2.0 and read.size_fp > read.size_quantized > 0
    assert read.group_results[0].task == values["group_results"][0]["pass"]
    assert read.evaluation_set == values["evaluation"]["sha256"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "three", r"key 'seed' is not as expected \(ValueError"),
        ("units", [{"name": "a", "group": 0, "error": 1.0}], r"key 'units' .*\(0\.loss: Field required\)"),
        ("quantized", {"top1": 1.5}, r"key 'quantized' .*1\.5 is not between 0 and 1"),
        ("quantized", [], "key 'quantized'"),
        ("timing_s", {"plan": -1}, "key 'timing_s'"),
        ("size_bytes", {"fp": "x"}, "key 'size_bytes'"),
        ("peak_memory_mb", "much", "key 'peak_memory_mb'"),
        ("evaluation", 5, "key 'evaluation'"),
        ("bits", {"activation": 4}, "key 'weight' is missing"),
        ("bits", None, "key 'bits' is missing"),
        ("group_results", [{"name": "a"}], "key 'group_results'"),
    ],
)
def test_what_is_needed_is_refused_where_it_is_damaged(
    values: dict[str, Any], key: str, value: Any, message: str
) -> None:
    values[key] = value
    with pytest.raises(DataError, match=rf"^summary\.json: {message}.*; repeat the run") as error:
        RunSummary.read(values, FILE)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert getattr(RunSummary.readable(values), key) == RunSummary.model_fields[key].get_default() or (
        key == "bits" and RunSummary.readable(values).bits == Bits(weight=0, activation=4)
    )


@pytest.mark.parametrize("key", ["cache", "unquantized", "merged_pairs", "weights", "notes", "boundary_bits"])
def test_what_no_comparison_needs_is_not_refused(values: dict[str, Any], key: str) -> None:
    values[key] = 5j
    assert getattr(RunSummary.read(values, FILE), key) is None


def test_of_old_runs_what_is_missing_has_its_default(values: dict[str, Any]) -> None:
    for key in ("group_results", "size_bytes", "evaluation", "options", "precision", "stem_output", "status"):
        del values[key]
    read = RunSummary.read(values, FILE)
    assert (read.completed, read.stem_output, read.precision, read.size_fp) == (True, "low", "32", 0)


def test_the_record_cannot_be_changed(values: dict[str, Any]) -> None:
    read = RunSummary.read(values, FILE)
    with pytest.raises(ValueError, match="frozen"):
        read.fp = Accuracy(top1=1.0)  # type: ignore[misc]


def test_no_other_module_takes_a_key_of_it_by_its_name() -> None:
    """Keys that name nothing else: whoever needs one asks `RunSummary`."""
    keys = {"merged_pairs", "optimisation_steps", "timing_s", "reused_s", "size_bytes", "group_results"}
    keys |= {"boundary_bits", "evaluation_images", "run_name"}
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            key = node.slice if isinstance(node, ast.Subscript) else None
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
                key = node.args[0]
            if isinstance(key, ast.Constant) and key.value in keys:
                found.add((file.relative_to(SOURCE).as_posix(), key.value))
    assert not found
