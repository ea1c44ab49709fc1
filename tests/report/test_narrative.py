"""What is said about runs: who wins, by how much, at what price, and where merging harms."""

import json

import pytest

from mrecg.report import find_runs, load_run
from mrecg.report.compare import panels
from mrecg.report.narrative import error_sentence, headline, verdict
from mrecg.report.pairs import findings


@pytest.fixture
def write(tmp_path, folders):
    """Write a run of given accuracy and errors along the units."""

    def one(name, *, top1=0.9, errors=None, merged=(), seconds=50.0, **more):
        folder = folders.write_run(tmp_path / name, name=name, merged=merged, seconds=seconds, **more)
        summary = json.loads((folder / "summary.json").read_text())
        if summary["quantized"]:
            summary["quantized"]["top1"] = top1
        for unit, error in zip(summary["units"], errors or [], strict=False):
            unit["error"] = error
        (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return one


@pytest.fixture
def said(tmp_path):
    def what():
        runs = [load_run(path) for path in find_runs([tmp_path])]
        return headline(findings(panels(runs)), runs).replace("\u00a0", " ")

    return what


def hump(end, after=0.5):
    """Rises to 1 after features.4, falls, grows back to `after`, and ends."""
    return [0.2, 0.4, 0.6, 0.8, 1.0, *[0.4] * 13, after, end]


def test_who_beats_whom_by_how_much_at_what_price(write, said, folders):
    write("b", top1=0.9, errors=hump(0.5), seconds=50.0)
    write("m", top1=0.93, errors=hump(0.3, 0.45), merged=folders.merged, seconds=110.0)
    assert said() == (
        "MRECG + QDrop beats QDrop by 3.0 ± 0.6 points of top-1 at equal steps (90.0 → 93.0 %), for 2 × the "
        "time. With merging the error, which peaks after features.4, grows back 50 % less and reaches the "
        "head 10 % smaller."
    )


def test_what_got_worse_is_said_as_plainly(write, said, folders):
    write("b", top1=0.93, errors=hump(0.3, 0.45))
    write("m", top1=0.9, errors=hump(0.5), merged=folders.merged)
    text = said()
    assert "MRECG + QDrop falls 3.0 ± 0.6 points of top-1 short of QDrop" in text
    assert "in the same time" in text
    assert "grows back 100 % more and reaches the head 11 % larger" in text


def test_what_chance_can_make_is_no_victory(write, said, folders):
    write("b", top1=0.93)
    write("m", top1=0.935, merged=folders.merged)
    assert "MRECG + QDrop and QDrop do not clearly differ at equal steps: +0.5 ± 0.5 points" in said()


def test_the_control_at_equal_time_is_told(write, said, folders):
    write("b", top1=0.9, seconds=50.0)
    write("m", top1=0.93, merged=folders.merged, seconds=100.0)
    write("c", top1=0.95, seconds=100.0, summary_extra={"steps": 400})
    text = said()
    assert "at equal steps (90.0 → 93.0 %)" in text
    assert "At equal time, against QDrop (400 steps) with 95.0 %, it is 2.0 ± 0.5 points behind." in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (86.0, "At equal time, against QDrop (400 steps) with 95.0 %, it"),
        (117.0, "At equal time, against QDrop (400 steps) with 95.0 %, it"),
        (170.0, "Against QDrop (400 steps) with 95.0 %, which took 1.6 × its time, it"),
        (60.0, "Against QDrop (400 steps) with 95.0 %, which took 0.63 × its time, it"),
        (210.0, ""),
        (45.0, ""),
    ],
)
def test_a_busy_machine_does_not_hide_the_control(write, said, folders, seconds, words):
    write("b", top1=0.9, seconds=30.0)
    write("m", top1=0.93, merged=folders.merged, seconds=100.0)
    write("c", top1=0.95, seconds=seconds, summary_extra={"steps": 400})
    text = said().replace("\u202f", " ")
    assert f"{words} is 2.0 ± 0.5 points behind." in text if words else "400 steps" not in text


@pytest.mark.parametrize(("top1", "words"), [(0.9, "points ahead"), (0.931, "no clear difference")])
def test_the_control_may_lose_too(write, said, folders, top1, words):
    write("b", top1=0.89, seconds=50.0)
    write("m", top1=0.93, merged=folders.merged, seconds=100.0)
    write("c", top1=top1, seconds=100.0, summary_extra={"steps": 400})
    assert words in said().partition("At equal time")[2]


def test_a_run_that_does_not_oscillate_is_said_so(write, said, folders):
    rising = [0.05 * i for i in range(1, 21)]
    write("b", errors=rising)
    write("m", errors=[0.8 * e for e in rising], merged=folders.merged)
    text = said()
    assert "QDrop does not oscillate here" in text and "after its peak (features.18)" in text
    assert "With merging the error reaches the head 20 % smaller." in text


def test_merging_that_makes_the_error_grow_back_is_said_so(write, said, folders):
    falling = [1.0, *[0.9 - 0.04 * i for i in range(19)]]
    write("b", errors=falling)
    write("m", errors=hump(0.09), merged=folders.merged)
    text = said()
    assert "QDrop does not oscillate here" in text and "after its peak (features.0)" in text
    again = text.partition("With merging the error ")[2]
    assert again == "does grow again after its peak (features.4) and reaches the head 127 % larger."


def test_an_error_that_no_longer_grows_back(write, said, folders):
    write("b", errors=hump(0.5))
    write("m", errors=hump(0.5, 0.4), merged=folders.merged)
    assert "no longer grows back" in said()


def test_another_peak_with_merging_is_named(write, said, folders):
    write("b", errors=hump(0.5))
    write("m", errors=[0.2, 0.4, 1.2, *hump(0.5)[3:]], merged=folders.merged)
    assert "peaks after features.4 (merged: after features.2)" in said()


def test_errors_that_are_no_numbers_are_passed_over(write, said, folders):
    write("b", errors=[float("nan"), *hump(0.5)[1:]])
    write("m", errors=[float("nan")] * 20, merged=folders.merged)
    assert "MRECG + QDrop" in said()


def test_seconds_of_two_devices_are_not_compared(write, said, folders):
    write("b", summary_extra={"device": "cuda"})
    write("m", merged=folders.merged)
    assert "the time" not in said() and "beats" not in said()


def test_unequal_steps_are_not_called_equal(write, said, folders):
    write("b", summary_extra={"optimisation_steps": 4000})
    write("m", merged=folders.merged, summary_extra={"optimisation_steps": 3000})
    assert "with 0.75 × the steps" in said()


def test_several_seeds_methods_and_networks(write, said, folders):
    for seed in (0, 1):
        write(f"b{seed}", top1=0.9, seed=seed)
        write(f"m{seed}", top1=0.93, seed=seed, merged=folders.merged)
    for method in ("brecq", "brecq_joint"):
        write(f"b{method}", top1=0.8, method=method)
        write(f"m{method}", top1=0.85, method=method, merged=folders.merged)
    write("b4", top1=0.9, bits=(4, 4))
    write("m4", top1=0.7, bits=(4, 4), merged=folders.merged)
    text = said()
    assert text.startswith("W2A4: MRECG + QDrop beats QDrop by 3.0 ± 0.6 points") and "2 seeds" in text
    assert "against BRECQ: +5.0 ± 0.8" in text
    assert "Of all 4 comparisons here top-1 clearly rose in 3 and fell in 1; in 0 there" in text


def test_no_evaluation_leaves_the_error(write, said, folders):
    write("b", evaluated=False)
    write("m", evaluated=False, merged=folders.merged)
    assert "were not evaluated" in said() and "reaches the head" in said()


@pytest.mark.parametrize("merged", [False, True])
def test_without_a_pair_the_missing_run_is_named(write, said, folders, merged):
    write("one", top1=0.91, merged=folders.merged if merged else ())
    text = said()
    assert "91.00 %" in text
    assert ("no block-wise run" if merged else "run the same with mixed granularity") in text
    assert "command" not in text  # of which there may be none beside the sentence


def test_the_missing_run_is_that_of_the_configuration_that_is_named(write, said, folders):
    write("best", top1=0.95, method="adaround")
    write("merged", top1=0.91, merged=folders.merged)
    text = said()
    assert "The best of 2 runs, best: top-1 is 95.00 %" in text
    assert "MRECG + QDrop has no block-wise run of the same settings" in text


def test_seeds_that_do_not_compare_are_not_counted(write, said, folders):
    for seed in (0, 1):
        write(f"b{seed}", top1=0.9, seed=seed)
        write(f"m{seed}", top1=0.93, seed=seed, merged=folders.merged, evaluated=not seed)
    assert "(90.0 → 93.0 %)" in said()


def test_the_old_index_is_in_no_headline(write, said, folders):
    write("b", errors=hump(0.5))
    write("m", errors=hump(0.3), merged=folders.merged)
    assert "index" not in said()


def test_no_run_that_completed(folders, tmp_path, said):
    folders.write_failed(tmp_path / "x")
    assert said() == "No run here completed."


def test_verdict_and_error_of_one_pair(write, folders, tmp_path):
    write("b", top1=0.9)
    write("m1", top1=0.93, merged=folders.merged[:1])
    write("m2", top1=0.92, merged=folders.merged)
    found = findings(panels([load_run(path) for path in find_runs([tmp_path])]))
    assert [verdict(one).partition(" beats")[0] for one in found] == [
        "MRECG + QDrop (1 merge)",
        "MRECG + QDrop (4 merges)",
    ]
    assert all("head" in error_sentence(one) for one in found)
