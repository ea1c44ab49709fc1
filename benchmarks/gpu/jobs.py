"""Two processes on one device: each job of a sweep claims a GPU or shares one; alone it gives the same."""

import json
import multiprocessing
import tempfile
from multiprocessing.queues import Queue
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.gpu.options import Options
from benchmarks.gpu.record import Record
from mrecg.cli.main import main
from mrecg.system import devices

WORDS = (
    *("quantize", "-m", "data.calibration_images=64", "data.evaluation_images=200", "trainer.steps=20"),
    *("trainer.batch_size=16", "method=qdrop", "granularity=block", "seed=0,1", "logger=csv"),
    *("shared.folder=null", "trainer.threads=1"),  # as many for jobs alone as for those beside others
)


def measure(record: Record, options: Options) -> None:
    """Claim, and sweep.

    Args:
        record: Takes what is found.
        options: The device.
    """
    claims = {count: claimed(count) for count in (1, 2)}
    # Of two GPUs each process has its own; of one the first has it, and the second shares it without a claim.
    holds = claims[1] == [(0, True), (0, False)] and sorted(claims[2]) == [(0, True), (1, True)]
    record.put("claims", {"of one": claims[1], "of two": claims[2], "holds": holds})
    with tempfile.TemporaryDirectory() as place:
        device = f"trainer.device={options.device.type}"
        sweep(Path(place, "alone"), device)
        ways = ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"]
        sweep(Path(place, "together"), device, *ways)
        alone, together = (results(Path(place, name)) for name in ("alone", "together"))
    differ = [seed for seed in alone if not same(alone[seed], together.get(seed, {}))]
    found = {"jobs": len(together), "differ": differ, "holds": len(together) == 2 and not differ}
    record.put("two jobs at once", found)
    fine = holds and bool(found["holds"])
    record.end(
        f"claims {claims[1]} of one GPU, {claims[2]} of two; {len(together)} jobs at once are done, "
        f"{len(differ)} of them differ from what they give alone",
        holds=fine,
    )


def claimed(count: int) -> list[tuple[int, bool]]:
    """Let two processes claim a GPU while both live: the index of each, and whether it holds a claim."""
    context = multiprocessing.get_context("spawn")
    answers: Queue[tuple[int, bool]] = context.Queue()
    done = context.Event()
    processes = [context.Process(target=_claim, args=(count, answers, done)) for _ in range(2)]
    found = []
    try:
        for process in processes:
            process.start()
            found.append(answers.get(timeout=120))
    finally:
        done.set()
        for process in processes:
            process.join(30)
            process.kill()
    return found


def _claim(count: int, answers: "Queue[tuple[int, bool]]", done: "multiprocessing.synchronize.Event") -> None:
    index, claim = devices.claimed_gpu(count)
    answers.put((index, claim is not None))
    done.wait(120)


def sweep(folder: Path, *words: str) -> None:
    """Run both jobs."""
    try:
        main([*WORDS, f"hydra.sweep.dir={folder}", *words])
    except SystemExit as left:
        if left.code:
            raise RuntimeError(f"the sweep has ended with {left.code}") from left


def results(folder: Path) -> dict[int, dict[str, torch.Tensor]]:
    """The tensors of each finished job, by seed."""
    found = {}
    for summary in folder.rglob("summary.json"):
        facts = json.loads(summary.read_text())
        if facts["status"] == "completed":
            found[int(facts["seed"])] = load_file(summary.parent / "quantized.safetensors")
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Tell whether two files hold the same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
