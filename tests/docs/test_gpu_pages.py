"""What documents say of GPUs is what the files of the check hold, and "not measured" where there is none."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import pages
from benchmarks.gpu.parts import PARTS

ABOUT = {"device": "cuda", "device_name": "NVIDIA H200"}


def test_documents_are_up_to_date() -> None:
    for path, text in pages.pages().items():
        assert path.read_text() == text, "run python -m benchmarks.gpu.pages"


def test_without_files_nothing_is_guessed() -> None:
    assert pages.found_in(Path("/nowhere")) == {}
    assert pages.engine({}).count("not measured") == len(PARTS)
    assert pages.accuracy({}).endswith("not measured.\n") and "nothing was measured" in pages.summary({})


def test_numbers_come_from_files(tmp_path: Path) -> None:
    way = {"step_ms": 12.5, "floor_ms": 10.0, "ratio": 1.25, "waits": 1.0, "peak_mb": 900.0}
    run = {"top1": 0.461, "top1_fp": 0.746, "images": 650, "seconds": 61.2, "merged": [["a", "b"]]}
    files = {
        "kernels": {"status": "done", "headline": "79 of 79 hold", "items": {}},
        "speed": {"status": "done", "headline": "x | y", "items": {"resnet18: TF32, fused": way}},
        "same": {"status": "failed", "error": "exit code -6: CUDA\nerror", "items": {}},
        "accuracy": {
            "status": "done",
            "headline": "500 steps",
            "steps": 500,
            "items": {"w2a4 qdrop mixed": run},
            "left_out": dict.fromkeys(["w4a4 qdrop block", "w4a4 qdrop mixed"], "3 s are left"),
        },
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"device": ABOUT, "left_out": {}, **content}))
    found = pages.found_in(tmp_path)
    engine = pages.engine(found)
    assert "## GPU (NVIDIA H200)" in engine and "| done | 79 of 79 hold |" in engine
    assert "| resnet18: TF32, fused | 12.5 | 10.0 | 1.25 | 1.0 | 900 |" in engine
    assert "| failed | exit code -6: CUDA error |" in engine and "x \\| y" in engine
    assert engine.count("not measured") == 2  # jobs, passes
    accuracy = pages.accuracy(found)
    assert (
        "500 steps per unit" in accuracy and "| w2a4 qdrop mixed | 46.1 | 74.6 | 650 | 61 | a+b |" in accuracy
    )
    assert "- 3 s are left: w4a4 qdrop block; w4a4 qdrop mixed\n" in accuracy
    said = pages.summary(found)
    assert max(map(len, said.splitlines())) <= 100
    line = " ".join(said.split())
    assert "(NVIDIA H200) these parts of `make gpu` are done: kernels, speed, accuracy; " in line
    assert "not measured, or not as it should be: same, jobs, passes. " in line and "CUDA graphs" not in line


def test_what_graphs_gain_is_told_where_both_were_measured() -> None:
    names = ("a: float32, fused", "a: float32, fused, CUDA graphs", "b: float32, fused")
    items = {name: {"step_ms": ms} for name, ms in zip(names, (10.0, 4.0, 1.0), strict=True)}
    said = pages.summary({"speed": {"status": "done", "device": ABOUT, "items": items}})
    assert "steps are faster: a 2.5 times. " in " ".join(said.split())


def test_what_was_found_in_time_is_named() -> None:
    content = {"status": "out of time", "error": "ended after 9 s", "items": {"qdrop": {}, "rtn": {}}}
    assert "| out of time | ended after 9 s; found by then: qdrop, rtn |" in pages.engine({"same": content})


def test_a_block_is_replaced_once() -> None:
    text = "a\n<!-- gpu: x -->\nold\n<!-- end gpu -->\nb\n"
    assert pages.with_block(text, "x", "new\n") == "a\n<!-- gpu: x -->\nnew\n<!-- end gpu -->\nb\n"
    for wrong in ("a\n", text + text):
        with pytest.raises(ValueError, match="needs one block"):
            pages.with_block(wrong, "x", "new\n")
