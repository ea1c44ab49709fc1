"""A run that is killed, at whatever moment, goes on to the very bits of one that was left alone."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiers import first_fast

from mrecg.config.schema import RunConfig
from mrecg.errors import ConfigError, RunError
from mrecg.pipeline import run as pipeline
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.runs.layout import CHECKPOINT
from mrecg.system.content_store import ContentStore

Config = Callable[..., RunConfig]
FILES = ("quantized.safetensors", "units.csv", "plan.json", "decisions.csv", "config.yaml", "images.json")
TIMES = ("timing_s", "reused_s", "peak_memory_mb", "cache")
LONG = {"steps": 12, "chunk": 2, "batch_size": 4, "log_every": 3}
KILLS = 20


def content(folder: Path) -> dict[str, Any]:
    """All that a run leaves but for times."""
    summary = json.loads((folder / "summary.json").read_text())
    for key in TIMES:
        del summary[key]
    for group in summary["group_results"]:
        del group["seconds"]
    curves = {path.name: path.read_bytes() for path in (folder / "curves").iterdir()}
    return {"summary": summary, "curves": curves, **{name: (folder / name).read_bytes() for name in FILES}}


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    "settings",
    first_fast(
        [
            {"method": {"name": "qdrop"}},
            {"method": {"name": "brecq", "loss": "fisher_diag"}},
            {"method": {"name": "brecq_joint", "learn_zero_points": True}},
            {"method": {"name": "genie_m"}},
            {"method": {"name": "qdrop", "start": "closed_form", "learn_biases": True}},
            {"method": {"name": "qdrop", "learn_rounding": False, "learn_weight_scales": True}},
            {"method": {"name": "qdrop", "settle_steps": 1.0, "learn_biases": True}},
            {"method": {"name": "genie_m", "settle_steps": 0.5, "start": "closed_form"}},
            {"method": {"name": "pd_quant"}},
            {"method": {"name": "adaround"}, "granularity": {"name": "layer"}},
            {"planner": {"name": "budget", "merge_boundary": True, "probe_steps": 12, "time_budget": 3.0}},
            {"planner": {"name": "safe", "merge_boundary": True, "held_out": 0.3}},
            {"planner": {"name": "safe", "merge_boundary": True}, "method": {"name": "brecq"}},
            {"planner": {"name": "loss", "merge_boundary": True, "accept": "held_out"}},
        ]
    ),
    ids=lambda values: "-".join(str(value) for group in values.values() for value in group.values()),
)
def test_a_run_goes_on_in_the_middle_of_a_group(
    settings: dict[str, Any], tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(
        **{"granularity": {"name": "block"} if "planner" not in settings else {"name": "mixed"}, **settings},
        trainer=LONG,
        checkpoint={"every_steps": 4},
    )
    pipeline.run(config, tmp_path / "whole")
    real, steps = GroupReconstruction.training_step, list[int]()

    def chunk(module: GroupReconstruction, edges: Any) -> None:
        real(module, edges)
        steps.append(int(edges[0]))
        if len(steps) == 9:
            raise StopError

    monkeypatch.setattr(GroupReconstruction, "training_step", chunk)
    stops = 0
    for _ in range(60):
        try:
            pipeline.run(config, tmp_path / "stopped")
            break
        except StopError:
            stops, steps = stops + 1, []
            assert (tmp_path / "stopped" / CHECKPOINT).is_dir()
    else:
        pytest.fail("it never ends: steps are taken again and again")
    assert stops >= 3
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    assert not (tmp_path / "stopped" / CHECKPOINT).exists()


@pytest.mark.slow
def test_a_run_survives_being_killed_at_any_moment(tiny_config: Config, tmp_path: Path) -> None:
    config = tiny_config(
        method={"name": "brecq"},
        planner={"name": "loss", "merge_boundary": True},
        trainer={**LONG, "steps": 120},
        checkpoint={"every_steps": 4},
        logger={"wandb": "disabled"},
    )
    begin = time.monotonic()
    pipeline.run(config, tmp_path / "whole")
    whole = time.monotonic() - begin
    expected, draw, kills = content(tmp_path / "whole"), random.Random(0), 0
    for number in range(KILLS):  # runs, until enough of their processes were killed
        kills += killed(config, tmp_path / f"killed{number}", draw, whole)
        assert content(tmp_path / f"killed{number}") == expected
        if kills >= KILLS:
            return
    pytest.fail(f"only {kills} processes were killed")


def killed(config: RunConfig, folder: Path, draw: random.Random, whole: float) -> int:
    """Run in processes that live for a part of the whole, until one of them comes to the end."""
    for kills in range(20 * KILLS):
        child = os.fork()
        if child == 0:
            try:
                pipeline.run(config, folder)
            finally:
                os._exit(0)
        time.sleep(draw.uniform(0.02, 0.16) * whole)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return kills
        if folder.is_dir():
            assert all(loads(path) for path in folder.glob("*.safetensors"))
    pytest.fail("it never ends")


def loads(path: Path) -> bool:
    from safetensors.torch import load_file

    return bool(load_file(path))


def test_a_full_disk_loses_nothing_and_says_how_to_go_on(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(granularity={"name": "block"})
    pipeline.run(config, tmp_path / "whole")
    real, puts = ContentStore.put, list[str]()

    def put(store: ContentStore, key: str, entry: Any) -> None:
        if len(puts) == 3:
            raise OSError(28, "No space left on device")
        puts.append(key)
        real(store, key, entry)

    with monkeypatch.context() as patched:
        patched.setattr(ContentStore, "put", put)
        with pytest.raises(RunError, match=r"No space left.*make room, and continue with resume="):
            pipeline.run(config, tmp_path / "full")
    pipeline.run(config, tmp_path / "full")
    assert content(tmp_path / "full") == content(tmp_path / "whole")


def test_another_run_in_the_folder_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    config = tiny_config(granularity={"name": "block"})
    folder = tmp_path / "run"
    pipeline.run(config, folder)
    (folder / CHECKPOINT).mkdir()
    with pytest.raises(ConfigError, match=r"bits\.weight: 2 there, 3 here\) \(and 1 more\)"):
        pipeline.run(tiny_config(granularity={"name": "block"}, seed=1, bits={"weight": 3}), folder)
    pipeline.run(tiny_config(granularity={"name": "block"}, seed=1, resume="never"), folder)
    assert json.loads((folder / "summary.json").read_text())["seed"] == 1
