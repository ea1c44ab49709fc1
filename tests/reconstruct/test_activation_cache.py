"""Activations come back as they went in, within the budget, and leave nothing behind."""

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mrecg.config.schema import CacheConfig
from mrecg.errors import ConfigError
from mrecg.reconstruct import mapped_file
from mrecg.reconstruct.activation_cache import Cache, Store, check
from mrecg.system import memory

CPU = torch.device("cpu")
MB = 2**20
SHAPE = (10, 3, 4, 5)


def parts(values: Tensor, size: int = 4) -> Iterator[Tensor]:
    yield from torch.split(values, size)


def written(values: Tensor, grid: Any = None, **settings: Any) -> tuple[Cache, Store]:
    cache = Cache(CacheConfig(**settings), CPU)
    return cache, cache.write(parts(values), len(values), grid=grid)


def grid_of(scale: float, zero: float = 0.0, top: int = 15, dtype: torch.dtype = torch.float32) -> Any:
    return torch.tensor([scale], dtype=dtype), torch.tensor([zero], dtype=dtype), top


def quantized(grid: Any, shape: tuple[int, ...] = SHAPE) -> Tensor:
    scale, zero, top = grid
    levels = torch.randint(0, top + 1, shape).to(scale.dtype)
    return (levels - zero) * scale


@pytest.mark.parametrize("settings", [{}, {"device": "cpu"}, {"device": "disk"}, {"budget_mb": 0}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [SHAPE, (10, 7), (10, 3, 4)], ids=str)
def test_what_went_in_comes_out(settings: dict[str, Any], dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, dtype=dtype)
    _, store = written(values, **settings)
    index = torch.tensor([7, 0, 9, 0])
    assert (store.images, store.shape, store.device) == (10, shape, CPU)
    assert torch.equal(store.take(index), values[index]) and store.take(index).dtype == dtype
    got = list(store.batches(3))
    assert [len(x) for x in got] == [3, 3, 3, 1] and torch.equal(torch.cat(got), values)
    if len(shape) == 4:
        assert store.take(index).is_contiguous(memory_format=torch.channels_last)
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in got)


def test_a_tensor_is_read_where_it_is() -> None:
    values = torch.randn(SHAPE)
    store = Store.of(values)
    assert next(store.batches(10)).data_ptr() == values.data_ptr()
    assert torch.equal(store.take(torch.tensor([3])), values[3:4])


@pytest.mark.parametrize("device", ["auto", "disk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("scale", "zero", "top"), [(0.1, 0, 3), (0.0371, 7, 15), (1e-5, 128, 255)])
def test_levels_come_back_bit_by_bit(
    scale: float, zero: float, top: int, dtype: torch.dtype, device: str
) -> None:
    grid = grid_of(scale, zero, top, dtype)
    values = quantized(grid, (10, 3, 16, 16))
    cache, store = written(values, grid, dtype="uint8-exact", device=device)
    assert store._held().dtype == torch.uint8 and cache.use.dtype == "uint8-exact"
    assert cache.use.peak_mb + cache.use.disk_mb == pytest.approx(values.numel() / MB, abs=1e-3)
    grid[0].mul_(2)  # learned on, or shared: the cache has a copy
    assert torch.equal(store.take(torch.arange(10)), values)
    assert torch.equal(torch.cat(list(store.batches(3))), values)


@pytest.mark.parametrize("at", [0, 3, 4, 9], ids=["first", "first batch", "later batch", "last"])
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda v, s: v + 0.3 * s, id="between"),
        pytest.param(lambda v, s: torch.nextafter(v + s, v), id="one bit off"),
        pytest.param(lambda v, s: torch.full_like(v, 99 * float(s)), id="beyond the top"),
        pytest.param(lambda v, s: torch.full_like(v, float("inf")), id="infinite"),
    ],
)
def test_values_off_the_grid_are_kept_as_they_are(at: int, wrong: Any) -> None:
    grid = grid_of(0.1, 3)
    values = quantized(grid)
    values[at, 1, 2, 3] = wrong(values[at, 1, 2, 3], grid[0][0])
    cache, store = written(values, grid, dtype="uint8-exact")
    assert store._held().dtype == torch.float32 and cache.use.dtype == "float32"
    assert torch.equal(store.take(torch.arange(10)), values)
    assert sum(place.used for place in cache._places) == values.nbytes


def test_nan_is_kept() -> None:
    values = torch.full(SHAPE, float("nan"))
    _, store = written(values, grid_of(0.1), dtype="uint8-exact")
    assert bool(store.take(torch.arange(10)).isnan().all())


@pytest.mark.parametrize("grid", [None, grid_of(0.1, 0, 511)], ids=["no grid", "nine bits"])
def test_without_a_byte_wide_grid_values_are_kept(grid: Any) -> None:
    values = quantized(grid_of(0.1))
    _, store = written(values, grid, dtype="uint8-exact")
    assert store._held().dtype == torch.float32 and torch.equal(store.take(torch.arange(10)), values)


def test_bfloat16_rounds() -> None:
    values = torch.randn(SHAPE)
    cache, store = written(values, grid_of(0.1), dtype="bfloat16")
    assert torch.equal(store.take(torch.arange(10)), values.bfloat16().float())
    assert cache.use.dtype == "bfloat16"


def test_the_budget_is_kept_and_what_is_over_it_lies_on_disk() -> None:
    one = torch.randn(4, MB // 16)  # 1 MB
    with Cache(CacheConfig(budget_mb=3), CPU) as cache:
        stores = [cache.write(parts(one), 4) for _ in range(5)]
        assert (cache.use.peak_mb, cache.use.disk_mb) == (3, 2)
        stores[0].free()
        stores[0].free()
        again = cache.write(parts(one), 4)
        assert (cache.use.peak_mb, cache.use.disk_mb) == (3, 2)  # in the room that became free
        del stores[1:3]
        gc.collect()
        assert [place.used for place in cache._places] == [MB, 2 * MB]
        assert all(torch.equal(store.take(torch.arange(4)), one) for store in (again, *stores[1:]))
    assert [place.used for place in cache._places] == [0, 0]


def test_without_a_budget_a_share_of_the_free_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < memory.available_memory(CPU) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr("mrecg.reconstruct.activation_cache.available_memory", lambda device: 5 * MB)
    cache = Cache(CacheConfig(), CPU)
    assert [place.limit for place in cache._places] == [3 * MB, float("inf")]


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)
def test_a_container_has_no_more_than_its_limit(
    limit: str, used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    free = memory.available_memory(CPU)
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    ((tmp_path / limit).parent / "memory.stat").write_text(f"anon 5\ninactive_file {2 * MB}\n")
    (tmp_path / used).write_text(f"{3 * MB}\n")
    for most, expected in ((9 * MB, 8 * MB), (MB // 2, 0), (2**62, free)):
        (tmp_path / limit).write_text(f"{most}\n")
        assert memory.available_memory(CPU) == pytest.approx(expected, rel=0.1)
    if limit == "memory.max":
        (tmp_path / limit).write_text("max\n")
        assert memory.available_memory(CPU) == pytest.approx(free, rel=0.1)


def test_a_gpu_passes_on_to_the_cpu_and_that_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrecg.reconstruct.activation_cache.available_memory", lambda device: 0)
    gpu = torch.device("cuda")
    for where, names in {
        "auto": ["cuda", "cpu"],
        "cuda": ["cuda", "cpu"],
        "cpu": ["cpu"],
        "disk": [],
    }.items():
        *memory, last = Cache(CacheConfig(device=where), gpu)._places
        assert [place.device.type for place in memory] == names and last.device is None


def test_a_freed_store_cannot_be_read() -> None:
    _, store = written(torch.randn(SHAPE))
    store.free()
    with pytest.raises(RuntimeError, match="not kept any more"):
        store.take(torch.tensor([0]))


@pytest.mark.parametrize("size", [9, 11])
def test_as_many_images_come_as_were_announced(size: int) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        Cache(CacheConfig(), CPU).write(parts(torch.randn(10, 2)), size)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_no_file_is_ever_left(error: type[BaseException] | None, tmp_path: Path) -> None:
    def broken(values: Tensor) -> Iterator[Tensor]:
        yield values[:4]
        assert not list(tmp_path.iterdir())  # not even now: a killed process leaves nothing
        if error is not None:
            raise error
        yield values[4:]

    def deleted_files() -> int:
        mapped = Path("/proc/self/maps")
        return mapped.read_text().count(str(tmp_path)) if mapped.is_file() else 0

    try:
        with Cache(CacheConfig(device="disk", folder=tmp_path), CPU) as cache:
            store = cache.write(broken(torch.randn(SHAPE)), 10)
            assert cache.use.disk_mb > 0 and store.images == 10
    except (ValueError, KeyboardInterrupt) as raised:
        assert error is not None and type(raised) is error
    assert not list(tmp_path.iterdir()) and deleted_files() == 0
    assert cache._places[-1].used == 0


def test_a_missing_folder_is_refused_at_once(tmp_path: Path) -> None:
    for folder in (tmp_path / "no", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match=r"^cache\.folder: .* is not writable \(.*\); name a folder"):
            check(CacheConfig(folder=folder), CPU)


def test_a_read_only_folder_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: Any) -> Any:  # permissions do not bind the superuser
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(mapped_file.tempfile, "TemporaryFile", denied)
    with pytest.raises(ConfigError, match=r"^cache\.folder: .* is not writable \(Permission denied\)"):
        Cache(CacheConfig(folder=tmp_path), CPU)


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Cache(CacheConfig(device="disk", folder=tmp_path), CPU) as cache:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(ConfigError, match=r"^cache\.folder: .* no room for 1 MB .*cache\.budget_mb"):
            cache.write(parts(torch.randn(SHAPE)), 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, None], ids=["file system", "operating system"])
def test_where_room_cannot_be_reserved_it_is_taken_as_it_comes(
    code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: int) -> None:
        raise OSError(code, "not supported")

    if code is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    values = torch.randn(SHAPE)
    _, store = written(values, device="disk", folder=tmp_path)
    assert torch.equal(store.take(torch.arange(10)), values)


def test_the_gpu_is_asked_for_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match=r"^cache\.device: cuda: the network is on cpu; choose auto"):
        Cache(CacheConfig(device="cuda"), CPU)
