import importlib.util
import os
import pickle
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch

from mrecg.quant.kernels import functions, jit


def test_without_a_place_to_keep_it_a_kernel_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def nowhere(*args: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @jit.kernel
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(3) == 6


def compile_slowly(file: Path, dtype: str) -> None:
    """Compile for a type in a process that takes its time between what it reads and what it writes."""
    from numba.core.caching import IndexDataCacheFile

    save = IndexDataCacheFile._save_index

    def later(*arguments: Any) -> None:
        time.sleep(0.5)
        save(*arguments)

    IndexDataCacheFile._save_index = later
    spec = importlib.util.spec_from_file_location("common_kernel", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    jit.kernel(module.double)(np.ones(3, dtype))


def test_processes_that_compile_together_keep_their_code_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "common_kernel.py").write_text("def double(x):\n    x *= 2\n")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    children = []
    for dtype in ("float32", "float64"):
        if (child := os.fork()) == 0:
            try:
                compile_slowly(tmp_path / "common_kernel.py", dtype)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    (index,) = (tmp_path / "kept").rglob("*.nbi")
    with index.open("rb") as stream:
        pickle.load(stream)  # Numba's version
        _, names = pickle.loads(stream.read())
    assert len(names) == len(set(names.values())) == 2
    for (signature, *_), name in names.items():
        assert repr(signature[0].dtype).encode() in (index.parent / name).read_bytes()


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_done_once(count: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    done, lock = np.zeros(count, int), threading.Lock()
    parts = []

    def run(begin: int, end: int) -> None:
        with lock:
            done[begin:end] += 1
            parts.append(end - begin)

    jit.divide(run, count, grain=2)
    assert (done == 1).all()
    assert len(parts) == max(1, min(threads, count // 2)) and (len(parts) == 1 or min(parts) >= 2)


def test_an_error_in_a_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def run(begin: int, end: int) -> None:
        if begin:
            raise ValueError("second half")

    with pytest.raises(ValueError, match="second half"):
        jit.divide(run, 10, grain=1)


@jit.kernel
def _evaluate(x, y, out, which):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        if which == 0:
            out[i] = functions.exp(x[i])
        elif which == 1:
            out[i] = functions.log(x[i])
        else:
            out[i] = functions.power(x[i], y[i])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_elementary_functions_are_those_of_numpy(which: int) -> None:
    draw = np.random.default_rng(0)
    y = draw.uniform(0.5, 20, 5000).astype(np.float32)
    x = draw.uniform(-80, 80, 5000) if which == 0 else 10 ** draw.uniform(-4, 4, 5000)
    x = (np.minimum(x, 1) if which == 2 else x).astype(np.float32)
    out = np.empty_like(x)
    _evaluate(x, y, out, which)
    wide = x.astype(np.float64)
    exact = [np.exp, np.log, lambda v: v ** y.astype(np.float64)][which](wide)
    near = np.isclose(out, exact, rtol=2e-5 if which == 2 else 5e-7, atol=1e-7 if which == 1 else 1e-30)
    assert near.all()


def test_a_power_of_zero_is_nothing() -> None:
    out = np.empty(1, np.float32)
    _evaluate(np.zeros(1, np.float32), np.full(1, 1.5, np.float32), out, 2)
    assert out[0] < 1e-20
