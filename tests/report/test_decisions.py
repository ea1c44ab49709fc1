"""Decisions image by image: reading, paired standard errors, flips."""

import json
import math

import numpy as np
import pytest

from mrecg.errors import DataError
from mrecg.report.decisions import (
    between,
    change,
    class_folders,
    class_names,
    flips,
    read_decisions,
    right,
    unpaired,
)
from mrecg.runs.load import load_run

ROWS = [  # label, full precision, quantized
    (0, 0, 0),
    (0, 0, 1),
    (0, 2, 0),
    (1, 1, 1),
    (1, 1, 0),
    (1, 0, 0),
    (2, 1, 0),
    (2, 2, 0),
]


def write_decisions(folder, rows=ROWS):
    lines = ["label,fp,quantized", *(",".join(map(str, row)) for row in rows)]
    (folder / "decisions.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def run(tmp_path, folders):
    folder = folders.write_run(tmp_path / "run", summary_extra={"evaluation_images": len(ROWS)})
    write_decisions(folder)
    return load_run(folder)


def test_flips_count_every_image_once(run):
    decided = read_decisions(run)
    found = flips(decided, {0: "cat"})
    kinds = ("both_right", "only_fp_right", "only_quantized_right", "both_wrong_same", "both_wrong_differ")
    assert [found[kind] for kind in kinds] == [2, 3, 1, 1, 1]
    assert sum(found[kind] for kind in kinds) == found["images"] == 8
    assert found["class_count"] == 3 and found["classes_changed"] == 2
    assert found["classes"] == [
        {"name": "1", "images": 3, "fp_right": 2, "quantized_right": 1},
        {"name": "2", "images": 2, "fp_right": 1, "quantized_right": 0},
    ]
    assert found["confusions"][0] == {"from": "1", "to": "cat", "images": 2}
    assert sum(confusion["images"] for confusion in found["confusions"]) == 5


def test_paired_standard_error_is_that_of_the_differences(run):
    decided = read_decisions(run)
    found = change(right(decided, 1), right(decided, 2))
    differences = [(q == y) - (f == y) for y, f, q in ROWS]
    mean = sum(differences) / 8
    variance = sum((d - mean) ** 2 for d in differences) / 7
    assert found["change"] == pytest.approx(mean) and found["images"] == 8 and found["paired"]
    assert found["standard_error"] == pytest.approx(math.sqrt(variance / 8))
    alone = unpaired(5 / 8, 3 / 8, 8)
    assert alone["change"] == pytest.approx(mean) and not alone["paired"]
    assert alone["standard_error"] == pytest.approx(math.sqrt((15 + 15) / 64 / 8))


def test_the_same_decisions_differ_by_nothing():
    same = np.array([True, False, True])
    assert change(same, same) == {"change": 0.0, "standard_error": 0.0, "images": 3, "paired": True}
    assert change(same[:1], same[:1])["standard_error"] == 0.0


def test_classes_are_named_by_their_folders(run):
    names = [f"{'abc'[label]}/{i}.png" for i, (label, _, _) in enumerate(ROWS)]
    (run.path / "images.json").write_text(json.dumps({"evaluation": {"names": names}}))
    decided = read_decisions(run)
    assert class_names(decided, class_folders(run)) == {0: "a", 1: "b", 2: "c"}
    assert class_names(decided, ()) == {}
    mixed = ["a/1.png", "b/2.png", *names[2:]]  # two folders for one label: the folder is not the class
    (run.path / "images.json").write_text(json.dumps({"evaluation": {"names": mixed}}))
    assert class_names(decided, class_folders(run)) == {1: "b", 2: "c"}
    (run.path / "images.json").write_text("{")
    assert class_folders(run) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label,fp\n1,2\n", "columns are not"),
        ("label,fp,quantized\n1,2,x\n", "could not convert"),
        ("label,fp,quantized\n1,2,3\n", "it has 1 images, summary.json 8"),
        ("", "columns are not"),
    ],
)
def test_broken_decisions_are_refused(run, content, message):
    (run.path / "decisions.csv").write_text(content)
    with pytest.raises(DataError, match=rf"decisions\.csv: .*{message}.*; repeat the run"):
        read_decisions(run)


def test_a_run_without_decisions_has_none(tmp_path, folders):
    assert read_decisions(load_run(folders.write_run(tmp_path / "run"))) is None


@pytest.mark.parametrize(
    ("other", "rows", "compared"),
    [
        ({}, ROWS, "paired"),
        ({}, None, "unpaired"),
        ({"evaluation_images": 7}, None, None),  # fewer images, of a set without a name
        ({"evaluation": {"sha256": "other"}}, None, None),
        ({}, [(label + 1, *rest) for label, *rest in ROWS], None),  # other labels: other images
        ({"quantized": None}, None, None),
    ],
)
def test_only_accuracies_on_the_same_images_compare(tmp_path, folders, run, other, rows, compared):
    extra = {"evaluation_images": len(ROWS), **other}
    folder = folders.write_run(tmp_path / "other", summary_extra=extra)
    if rows:
        write_decisions(folder, rows)
    for pair in ((run, load_run(folder)), (load_run(folder), run)):
        found = between(*pair)
        assert (found and ("paired" if found["paired"] else "unpaired")) == compared
