"""docs/results/scaling.md has the tables that its command prints."""

from pathlib import Path

from benchmarks.cost import core_hours, method_factors, tables

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_are_up_to_date():
    text = (DOCS / "results" / "scaling.md").read_text()
    for table in tables().split("\n\n"):
        assert table.strip() in text, "run python -m benchmarks.cost"


def test_a_run_costs_its_steps():
    network = {
        "pixels": 112,
        "images": 1024,
        "calibration_s": 0.0,
        "prefix_s": 0.0,
        "units": [{"step_ms": 9.0}] * 2,
    }
    # 20,000 steps of two units of 9 ms, on four times the pixels.
    assert core_hours("resnet18", network, 1.0) == 20_000 * 0.018 * 4 / 3600
    assert core_hours("resnet18", network, 2.0) == 2 * core_hours("resnet18", network, 1.0)


def test_qdrop_is_the_measure():
    factors = method_factors()
    assert factors["qdrop"] == 1.0 and factors["rtn"] < 0.1 < factors["adaround"] < factors["pd_quant"]
