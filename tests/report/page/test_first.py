"""The first screen as values: cards that agree with the sentence, verdicts in words, and the merge ledger."""

import json

import pytest

from mrecg.report import find_runs, load_run
from mrecg.report.page import first
from mrecg.report.page.document import document


@pytest.fixture
def write(tmp_path, folders):
    """Write a run of given accuracy and errors along the units."""

    def one(name, *, top1=0.9, scale=1.0, merged=(), seconds=50.0, **more):
        folder = folders.write_run(tmp_path / name, name=name, merged=merged, seconds=seconds, **more)
        summary = json.loads((folder / "summary.json").read_text())
        summary["quantized"]["top1"] = top1
        for i, unit in enumerate(summary["units"]):
            unit["error"] = scale * (0.5 if i % 5 else 0.25)
            unit["loss"] = 1000 * scale * (i + 1)
        summary["oscillation"]["loss_peak"] = max(unit["loss"] for unit in summary["units"])
        (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return one


@pytest.fixture
def described(tmp_path):
    def what():
        runs = [load_run(path) for path in find_runs([tmp_path])]
        found = document(runs, command="mrecg report x", version="1")
        json.dumps(found, allow_nan=False)
        return found

    return what


def cards(comparison):
    return {card["title"]: card for card in comparison["cards"]}


def test_five_cards_with_values_notes_and_a_verdict_in_a_word(write, described, folders):
    write("b", top1=0.9)
    write("m", top1=0.93, scale=0.8, merged=folders.merged, seconds=110.0)
    (one,) = described()["comparisons"]
    found = cards(one)
    assert list(found) == ["Top-1", "Error into head", "Largest loss", "Grows back", "Cost"]
    top1, head, loss, regrowth, cost = found.values()
    assert (top1["value"], top1["unit"], top1["values"]) == ("+3.0", "points", "90.0 % → 93.0 %")
    assert "± 0.6, unpaired standard error, 4,488 images" in top1["note"]
    assert (head["value"], head["unit"], head["values"]) == ("−20", "%", "0.5 → 0.4")
    assert (loss["values"], loss["note"]) == ("20,000 → 16,000", "after classifier")
    assert regrowth["value"] == "−20"
    assert cost["value"] == "2 ×" and cost["values"] == "59 s → 1 min 59 s"
    assert [card["verdict"] for card in found.values()] == ["better"] * 4 + ["dearer"]
    assert [card["tone"] for card in found.values()] == ["better"] * 4 + ["worse"]


def test_harm_and_chance_have_their_words(write, described, folders):
    write("b", top1=0.9, scale=0.8)
    write("m", top1=0.901, scale=1.0, merged=folders.merged)
    found = cards(described()["comparisons"][0])
    assert found["Top-1"]["verdict"] == "no clear difference" and found["Top-1"]["tone"] == "equal"
    assert found["Error into head"]["value"] == "+25" and found["Error into head"]["verdict"] == "worse"
    assert found["Cost"]["verdict"] == "same"


def test_the_control_at_equal_time_is_on_the_cost_card(write, described, folders):
    write("b", top1=0.9)
    write("m", top1=0.93, merged=folders.merged, seconds=110.0)
    assert "no block-wise run with as much time" in cards(described()["comparisons"][0])["Cost"]["note"]
    write("c", top1=0.95, seconds=110.0, summary_extra={"steps": 400})
    note = cards(described()["comparisons"][0])["Cost"]["note"]
    assert note == "at equal time QDrop (400 steps) has 95.0 %"


def test_the_control_says_by_how_much_its_time_is_another(write, described, folders):
    write("b", top1=0.9)
    write("m", top1=0.93, merged=folders.merged, seconds=110.0)
    write("c", top1=0.95, seconds=190.0, summary_extra={"steps": 400})
    note = cards(described()["comparisons"][0])["Cost"]["note"]
    assert note == "in 1.7\u00a0× its time QDrop (400 steps) has 95.0 %"


def test_the_ledger_names_each_merge_its_gain_and_its_price(write, described, folders):
    seconds = {"group_results": []}
    for name, merged, scale in (("b", (), 1.0), ("m", folders.merged, 0.8)):
        folder = write(name, scale=scale, merged=merged, summary_extra=seconds)
        summary = json.loads((folder / "summary.json").read_text())
        summary["group_results"] = [
            {"name": "+".join(group), "pass": "rounding", "seconds": 2.5 * len(group) if merged else 1.0}
            for group in summary["groups"]
        ]
        (folder / "summary.json").write_text(json.dumps(summary))
    (one,) = described()["comparisons"]
    assert [merge["name"] for merge in one["merges"]] == ["3+4", "6+7", "10+11+12"]
    assert {merge["change"] for merge in one["merges"]} == {"−20\u202f%"}
    assert [merge["cost"] for merge in one["merges"]] == ["+3.0\u202fs", "+3.0\u202fs", "+4.5\u202fs"]
    assert one["schedule"] == ""


def test_seeds_that_merge_other_units_are_told(write, described, folders):
    for seed in range(3):
        write(f"b{seed}", seed=seed)
        auto = {"options": {"planner.merge_count": "auto"}}
        write(f"m{seed}", seed=seed, merged=folders.merged[: 2 if seed else 1], summary_extra=auto)
    (one,) = described()["comparisons"]
    assert len(one["merges"]) == 2 and one["schedule"].startswith("of 2 of 3 seeds")


def test_the_best_comparison_is_first_and_says_where(write, described, folders):
    for bits, gain in (((2, 4), 0.05), ((4, 4), 0.01)):
        write(f"b{bits[0]}", top1=0.8 + gain, bits=bits)
        write(f"m{bits[0]}", top1=0.8 + 2 * gain, bits=bits, merged=folders.merged)
    found = described()
    first = found["comparisons"][0]
    assert first["parts"][0] == found["headline"][0] and first["parts"][0].startswith("W2A4: MRECG + QDrop")
    assert first["title"] == "QDrop → MRECG + QDrop"


def test_without_a_pair_the_best_run_stands_alone(write, described):
    write("b", top1=0.9)
    found = described()
    assert found["comparisons"] == [] and "granularity=mixed" in found["missing"]["command"]
    assert [card["title"] for card in found["alone"]["cards"]] == [
        "Top-1", "Error into head", "Largest loss", "Grows back", "Cost",
    ]  # fmt: skip
    assert all(card["verdict"] == "" for card in found["alone"]["cards"])


def test_no_completed_run_has_no_screen(tmp_path, folders, described):
    folders.write_failed(tmp_path / "f")
    found = described()
    assert found["alone"] is None and found["missing"] is None and found["comparisons"] == []


def test_what_a_group_inherits_is_in_the_document(write, described, folders):
    write("m", merged=folders.merged)
    (run,) = described()["runs"]
    assert len(run["floors"]) == len(run["groups"]) and all(value > 0 for value in run["floors"])


def test_losses_that_drop_activations_are_marked(write, described):
    write("q", method="qdrop")
    write("b", method="brecq_joint")
    write("a", method="qdrop", summary_extra={"options": {"method.keep_probability": "1.0"}})
    assert [one["dropped"] for one in described()["configurations"]] == [False, True, False]


def test_methods_have_names_that_tell_them_apart(write, described):
    write("q", method="qdrop")
    write("b", method="brecq")
    assert described()["methods"] == {"brecq": "BRECQ", "qdrop": "QDrop"}
    write("j", method="brecq_joint")
    assert described()["methods"]["brecq_joint"] == "BRECQ (brecq_joint)"


def test_seeds_that_merge_nothing_are_told(write, described, folders):
    for seed in range(3):
        write(f"b{seed}", seed=seed)
        auto = {"options": {"planner.merge_count": "auto"}}
        merged = folders.merged if seed == 2 else ()
        write(f"m{seed}", seed=seed, granularity="mixed", merged=merged, summary_extra=auto)
    (one,) = described()["comparisons"]
    assert len(one["merges"]) == 3 and one["schedule"] == "of 1 of 3 seeds; the others merge none"


def test_the_card_counts_the_seeds_that_were_paired(write, described, folders):
    for seed in range(3):
        write(f"b{seed}", seed=seed)
        extra = {} if seed else {"evaluation": {"sha256": "other"}}
        write(f"m{seed}", seed=seed, merged=folders.merged, summary_extra=extra)
    (one,) = described()["comparisons"]
    assert cards(one)["Top-1"]["note"].endswith(", 2 seeds")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        *((0.254, 0.15, "0.254 → 0.150"), (0.5, 0.4, "0.5 → 0.4"), (0.5, 0.25, "0.50 → 0.25")),
        *((0.12345, 0.9996, "0.123 → 1.000"), (1.2, 0.15, "1.2 → 0.15"), (137.2, 106.0, "137 → 106")),
        *((0.0, 0.5, "0 → 0.5"), (5e3, 12345.6, "5,000 → 12,346"), (float("nan"), 0.5, "– → 0.5")),
    ],
)
def test_two_numbers_have_the_same_digits(before: float, after: float, shown: str) -> None:
    assert first._pair(before, after) == shown
