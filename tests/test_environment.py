"""What surrounds a computation is put back at its end."""

import ctypes
from pathlib import Path

import pytest
import torch

from mrecg import allocator, environment
from mrecg.kernels.switch import serves

STATUS = Path("/proc/self/status")


def resident_mb() -> int:
    return next(int(x.split()[1]) // 1024 for x in STATUS.read_text().splitlines() if x.startswith("VmRSS"))


def test_threads_and_kernels_are_put_back_also_after_an_error() -> None:
    before, x = torch.get_num_threads(), torch.ones(1)
    with pytest.raises(ZeroDivisionError), environment.computing(threads=2, kernels="plain"):
        assert torch.get_num_threads() == 2 and not serves(x)
        raise ZeroDivisionError
    assert torch.get_num_threads() == before and serves(x)
    with environment.computing(threads=None, kernels="fused"):
        assert torch.get_num_threads() == before and serves(x)


@pytest.mark.skipif(not STATUS.exists(), reason="reads the process's memory from /proc")
def test_freed_blocks_are_kept_inside_and_given_back_at_the_end() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")
    before = resident_mb()
    with allocator.recycling():
        block = torch.ones(64 << 20)  # 256 MB
        del block
        assert resident_mb() > before + 200
    assert resident_mb() < before + 100


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Other())
    with allocator.recycling():
        assert torch.ones(3).sum() == 3
