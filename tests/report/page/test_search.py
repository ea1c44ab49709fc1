"""What the page is told of a search: which runs are one, and numbers that fit the configurations."""

import json
import random

import pytest
from run_folders import UNITS, write_failed, write_run

from mrecg.report import find_runs, load_run
from mrecg.report.page.document import document


def pairs(number):
    return tuple((UNITS[2 * i + 1], UNITS[2 * i + 2]) for i in range(number))


def write_search(root, trials=12, **same):
    """Trials over lambda, a learning rate and the number of merges, which decides both accuracy and time."""
    noise = random.Random(3)
    for i in range(trials):
        merges = i % 4
        options = {
            "method.regulariser": (0.001, 0.01, 0.1)[i // 4 % 3],
            "method.lr_rounding": round(10 ** noise.uniform(-3.5, -1.5), 5),
            "trainer.lr_factor": 10,
        }
        top1 = 0.8 + 0.02 * merges + noise.gauss(0, 0.002)
        extra = {"options": options, "quantized": {"top1": top1, "top5": 0.99}, "merge_count": merges}
        usual = {
            "method": "brecq_joint",
            "granularity": "mixed",
            "planner": "modcap",
            "seconds": 60 + 9 * merges,
        }
        write_run(
            root / str(i), name=str(i), merged=pairs(merges), **{**usual, "summary_extra": extra, **same}
        )
    return root


def describe(*folders):
    return document([load_run(path) for path in find_runs(folders)], command="", version="1")


def test_a_search_is_told_with_every_configuration(tmp_path):
    write_failed(write_search(tmp_path) / "failed")
    found = describe(tmp_path)
    json.dumps(found, allow_nan=False)
    (search,) = found["searches"]
    assert [one["title"] for one in search["settings"]] == ["lr_rounding", "regulariser", "merges"]
    assert search["network"] == found["networks"][0]["id"] and search["runs"] == 12
    assert set(search["lines"]) == {one["id"] for one in found["configurations"]}
    by_id = {one["id"]: one for one in found["configurations"]}
    runs = {str(path): load_run(path) for path in find_runs([tmp_path])}
    for key, values in search["lines"].items():
        (run,) = (runs[one["folder"]] for one in found["runs"] if one["configuration"] == key)
        assert values[:2] == [
            float(run.options["method.lr_rounding"]),
            float(run.options["method.regulariser"]),
        ]
        assert values[2] == by_id[key]["merge_count"]


def test_shares_are_of_both_results(tmp_path):
    (search,) = describe(write_search(tmp_path))["searches"]
    assert [(one["outcome"], one["title"]) for one in search["effects"]] == [
        ("top1", "top-1"),
        ("seconds", "time"),
    ]
    for result in search["effects"]:
        _, regulariser, merges = result["of"]
        assert merges["share"] > 0.6 and not merges["chance"]
        assert regulariser["share"] < 0.1 and regulariser["chance"]


def test_without_images_the_error_stands_for_the_accuracy(tmp_path):
    for i in range(8):
        extra = {"options": {"method.regulariser": 0.1 * (i % 2 + 1)}, "merge_count": i // 2}
        merges = {"merged": pairs(i // 2), "granularity": "mixed", "planner": "modcap"}
        folder, level = tmp_path / str(i), 1 + 0.1 * (i // 2)
        write_run(folder, name=str(i), evaluated=False, level=level, summary_extra=extra, **merges)
    (search,) = describe(tmp_path)["searches"]
    first, _ = search["effects"]
    assert (first["outcome"], first["title"]) == ("head", "error into the head")
    assert all(one is not None for one in first["of"])


@pytest.mark.parametrize("trials", [0, 7, 8])
def test_few_runs_are_no_search(tmp_path, trials):
    write_search(tmp_path, trials)
    write_run(tmp_path / "other", model="another_net")
    assert len(describe(tmp_path)["searches"]) == (trials >= 8)


def test_one_setting_alone_is_no_search_and_neither_are_names(tmp_path):
    for i in range(10):
        method = ("brecq", "qdrop")[i % 2]
        extra = {"quantized": {"top1": 0.5 + 0.01 * i, "top5": 0.9}}
        write_run(tmp_path / str(i), name=str(i), method=method, merged=pairs(i // 2), summary_extra=extra)
    assert describe(tmp_path)["searches"] == []


def test_each_network_has_its_own_and_bits_are_settings(tmp_path):
    for model in ("one", "two"):
        write_search(tmp_path / model, 10, model=model)
    write_search(tmp_path / "bits", 10, model="two", bits=(3, 3))
    found = describe(tmp_path)
    titles = {
        {n["id"]: n["title"].split()[0] for n in found["networks"]}[search["network"]]: [
            one["title"] for one in search["settings"]
        ]
        for search in found["searches"]
    }
    plain = ["lr_rounding", "regulariser", "merges"]
    assert titles == {
        "one": plain,
        "two": [*plain[:2], "activation bits", "weight bits", plain[2]],
    }
