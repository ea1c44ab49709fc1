"""What surrounds a computation is put back at its end."""

import ctypes
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from mrecg.quant.kernels.switch import serves
from mrecg.reconstruct import computing
from mrecg.system import allocator, devices
from mrecg.system.variables import WORKERS

STATUS = Path("/proc/self/status")


def resident_mb() -> int:
    return next(int(x.split()[1]) // 1024 for x in STATUS.read_text().splitlines() if x.startswith("VmRSS"))


def _recycle(out: Any) -> None:
    before = resident_mb()
    with allocator.recycling():
        block = torch.ones(64 << 20)  # 256 MB
        del block
        inside = resident_mb()
    out.put((before, inside, resident_mb()))


def test_threads_and_kernels_are_put_back_also_after_an_error() -> None:
    before, x = torch.get_num_threads(), torch.ones(1)
    with pytest.raises(ZeroDivisionError), computing.computing(threads=2, kernels="plain"):
        assert torch.get_num_threads() == 2 and not serves(x)
        raise ZeroDivisionError
    assert torch.get_num_threads() == before and serves(x)
    with computing.computing(threads=None, kernels="fused"):
        assert torch.get_num_threads() == before and serves(x)


@pytest.mark.skipif(not STATUS.exists(), reason="reads the process's memory from /proc")
def test_freed_blocks_are_kept_inside_and_given_back_at_the_end() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")
    # In a process of its own: in this one, what earlier tests have freed may serve the block already.
    spawn = multiprocessing.get_context("spawn")
    out = spawn.Queue()
    process = spawn.Process(target=_recycle, args=(out,))
    process.start()
    before, inside, after = out.get(timeout=60)
    process.join()
    assert inside > before + 200
    assert after < before + 100


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Other())
    with allocator.recycling():
        assert torch.ones(3).sum() == 3


def _claim(ready: Any, count: int, out: Any) -> None:
    devices.claimed_gpu.cache_clear()
    index, file = devices.claimed_gpu(count)
    out.put((index, file is not None))
    ready.wait(20)


def test_jobs_on_one_machine_claim_a_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    context = multiprocessing.get_context("fork")
    leave, out = context.Event(), context.Queue()
    jobs = [context.Process(target=_claim, args=(leave, 2, out)) for _ in range(3)]
    for job in jobs:
        job.start()
    claims = [out.get(timeout=20) for _ in jobs]
    assert sorted(index for index, own in claims if own) == [0, 1]
    assert [own for _, own in claims].count(False) == 1  # the third shares one of them
    leave.set()
    for job in jobs:
        job.join(20)
    index, file = devices.claimed_gpu.__wrapped__(2)
    assert (index, file is not None) == (0, True)  # a claim ends with its process
    assert file is not None
    file.close()


def test_jobs_on_one_machine_divide_its_gpus_and_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(devices, "claimed_gpu", lambda count: (count - 1, None))
    assert devices.resolve_device("auto") == torch.device("cuda")
    monkeypatch.setenv(WORKERS, "4")
    assert devices.resolve_device("auto") == torch.device("cuda:3")
    assert devices.resolve_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(computing, "processors", lambda: 8)
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        with computing.computing(threads=None, kernels="plain"):
            assert torch.get_num_threads() == 2
        with computing.computing(threads=3, kernels="plain"):
            assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "6")  # the engine has said so
        with computing.computing(threads=None, kernels="plain"):
            assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(before)
