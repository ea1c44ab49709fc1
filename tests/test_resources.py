"""No room, no permission, no memory, jumping clocks, no home, no browser: one line, or the run goes on."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numba
import pytest
import torch
from resources import Ended, RefusedError, alone, freeze_everything, mrecg, resize, tmpfs
from safetensors.torch import load_file
from tiers import first_fast

from mrecg.config.paths import CONF
from mrecg.config.schema import CacheConfig, RunConfig
from mrecg.errors import ConfigError, RunError, out_of_memory
from mrecg.quant.kernels.jit import kernel
from mrecg.reconstruct import activation_cache
from mrecg.reconstruct.activation_cache import Cache
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.runs.layout import CHECKPOINT
from mrecg.runs.lock import InUseError, run_lock
from mrecg.runs.sweep_status import _elapsed
from mrecg.system.content_store import MB, ContentStore, Entry

FILES = ("quantized.safetensors", "units.csv", "plan.json", "decisions.csv", "images.json")
TIMES = ("timing_s", "reused_s", "peak_memory_mb", "cache")
DAY = 86_400
NOBODY = 65534
TWO = """
import json, sys
from mrecg.cli.main import main
for words in sys.argv[1:]:
    try:
        main(json.loads(words))
    except SystemExit as left:
        if left.code:
            raise
"""


@pytest.fixture(scope="module", autouse=True)
def _warm(tiny_config: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import and compile in this process what every command needs, so that those it forks have it."""
    from mrecg.cli import jobs
    from mrecg.pipeline import run as pipeline

    assert jobs
    pipeline.run(tiny_config(), tmp_path_factory.mktemp("warm"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("MRECG_DEBUG", raising=False)


@pytest.fixture(scope="module")
def words(small: list[str]) -> list[str]:
    """A run of a second or two that has a probe, keeps parts of groups and shares nothing."""
    return [*small, "planner=loss", "shared.folder=null", "checkpoint.every_steps=1"]


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ended = mrecg("quantize", *words, f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    return folder


def content(folder: Path) -> dict[str, Any]:
    """All that a run leaves but for times."""
    summary = json.loads((folder / "summary.json").read_text())
    for key in TIMES:
        del summary[key]
    for group in summary["group_results"]:
        del group["seconds"]
    curves = {path.name: path.read_bytes() for path in (folder / "curves").iterdir()}
    return {"summary": summary, "curves": curves, **{name: (folder / name).read_bytes() for name in FILES}}


def one_line(ended: Ended, *patterns: str, code: int = 1) -> None:
    """It has ended by one line, which says all of this."""
    assert ended.code == code, ended.err
    assert ended.line.startswith("mrecg: ") and len(ended.line) < 700, ended.err
    assert ended.told == [ended.line], ended.err
    assert "Traceback" not in ended.err and "defect" not in ended.line and "Traceback" not in ended.out
    for pattern in patterns:
        assert re.search(pattern, ended.line), f"{pattern} is not in {ended.line}"


def nothing_is_half_there(folder: Path) -> None:
    """Whatever loads is whole, nothing says that the run is complete, and no temporary file is left over."""
    for file in folder.rglob("*"):
        assert not re.fullmatch(r"\..+\.\w{8}", file.name), f"{file} is left over"
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".safetensors":
            assert load_file(file)
    summary = folder / "summary.json"
    assert not summary.exists() or json.loads(summary.read_text())["status"] == "failed"
    assert not (folder / "report.html").exists()


@pytest.mark.slow
def test_a_disk_that_fills_at_any_moment_costs_nothing_but_time(
    words: list[str], whole: Path, tmp_path: Path
) -> None:
    def play() -> None:
        room, folder = tmp_path / "room", tmp_path / "room" / "run"
        tmpfs(room, "4k")
        places = set()
        for size in (4, 16, 28, 40, 56, 84, 112):
            resize(room, f"{size}k")
            ended = mrecg("quantize", *words, f"hydra.run.dir={folder}")
            one_line(ended, re.escape(str(folder)), r"No space left on device.*make room")
            nothing_is_half_there(folder)
            places.add(re.sub(r"^.*run(/checkpoint)?: ", "", ended.line))
        assert len(places) >= 4, "it failed at too few places to mean anything"
        saved = (folder / ".hydra" / "overrides.yaml").read_text().splitlines()
        resume = ("quantize", f"resume={folder}", "allow_import=true")
        one_line(mrecg(*resume), r"No space left on device")
        assert set(saved) <= set((folder / ".hydra" / "overrides.yaml").read_text().splitlines())
        resize(room, "512k")  # the page of the report takes 2 MB; the run has its result without it
        ended = mrecg(*resume)
        assert ended.code == 0 and "its page or table could not be made" in ended.out + ended.err
        assert content(folder) == content(whole) and not (folder / "report.html").exists()
        resize(room, "16m")
        ended = mrecg(*resume)
        assert ended.code == 0, ended.err
        assert content(folder) == content(whole) and not (folder / CHECKPOINT).exists()
        assert (folder / "report.html").read_text().rstrip().endswith("</html>")

    alone(play)


@pytest.mark.slow
def test_what_wandb_writes_may_fill_the_disk(words: list[str], whole: Path, tmp_path: Path) -> None:
    def play() -> None:
        room, folder = tmp_path / "room", tmp_path / "room" / "run"
        tmpfs(room, "140k")
        command = ("quantize", *words, "logger=wandb", f"hydra.run.dir={folder}")
        ended = mrecg(*command)
        if ended.code:  # it depends on the moment whether our file or W&B's is the first without room
            one_line(ended, re.escape(str(room)), "No space left on device")
            nothing_is_half_there(folder)
        else:  # neither tracker nor page, for which there is no room, decide whether a run is complete
            assert "W&B: sending stopped" in ended.out + ended.err
            assert json.loads((folder / "summary.json").read_text())["status"] == "completed"
            assert load_file(folder / "quantized.safetensors") and not (folder / "report.html").exists()
        resize(room, "32m")
        ended = mrecg(*command)
        assert ended.code == 0, ended.err
        assert content(folder) == content(whole)

    alone(play)


@pytest.mark.slow
def test_a_full_cache_is_one_line_and_the_run_goes_on_elsewhere(
    words: list[str], whole: Path, tmp_path: Path
) -> None:
    def play() -> None:
        room, folder = tmp_path / "room", tmp_path / "run"
        tmpfs(room, "96k")
        command = ("quantize", *words, "cache.device=disk", f"cache.folder={room}", f"hydra.run.dir={folder}")
        one_line(
            mrecg(*command),
            rf"^mrecg: cache\.folder: {room} has no room for 1 MB \(No space left on device\); name a folder",
            r"cache\.budget_mb.*what is finished is kept: continue with resume=",
        )
        nothing_is_half_there(folder)
        resize(room, "16m")
        assert mrecg(*command).code == 0
        assert (folder / "quantized.safetensors").read_bytes() == (
            whole / "quantized.safetensors"
        ).read_bytes()

    alone(play)


def test_no_room_behind_standard_output_is_one_line(whole: Path) -> None:
    ended = mrecg("report", str(whole), "-o", "page.html", out="/dev/full")
    one_line(ended, "standard output cannot be written to .*make room")


def test_a_page_or_a_figure_is_there_whole_or_as_it_was(whole: Path, tmp_path: Path) -> None:
    def play() -> None:
        room = tmp_path / "room"
        tmpfs(room, "256k")
        (room / "page.html").write_text("before")
        one_line(
            mrecg("report", str(whole), "-o", f"{room / 'page.html'}"),
            r"room/page\.html: No space.*make room",
        )
        assert (room / "page.html").read_text() == "before"
        resize(room, "4k")
        one_line(mrecg("report", str(whole), "-o", "p.html", "--figures", str(room)), "No space", code=2)
        assert [file.name for file in room.iterdir()] == ["page.html"]

    alone(play)


def test_a_device_stays_a_device_when_a_page_is_written_to_it(whole: Path) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    Path("target.html").write_text("before")
    Path("link.html").symlink_to("target.html")
    assert mrecg("report", str(whole), "-o", "link.html").code == 0
    assert Path("link.html").is_symlink() and Path("target.html").stat().st_size > 10_000
    os.close(reader)
    assert mrecg("report", str(whole), "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_folder_that_is_read_only_is_one_line(words: list[str], whole: Path, tmp_path: Path) -> None:
    def play() -> None:
        room = tmp_path / "room"
        tmpfs(room, "16m")
        begun = mrecg("quantize", *words, f"hydra.run.dir={room / 'run'}", "data.calibration_path=nowhere")
        assert begun.code == 2
        resize(room, "16m", read_only=True)
        for name in ("new", "run"):
            ended = mrecg("quantize", *words, f"hydra.run.dir={room / name}")
            one_line(ended, re.escape(str(room / name)), "Read-only file system; make it usable")
        one_line(mrecg("report", str(whole), "-o", f"{room / 'page.html'}"), "Read-only file system")
        assert not (room / "new").exists()

    alone(play)


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can become somebody else")
def test_a_folder_of_somebody_else_is_one_line(words: list[str], tmp_path: Path) -> None:
    def nobody() -> None:
        os.chdir("/")
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    def look() -> None:
        nobody()
        assert list(CONF.iterdir())

    if mrecg("--version", before=look).code:
        pytest.skip("this checkout can be read by its owner only")
    ended = mrecg("quantize", *words, "hydra.run.dir=/mrecg-nowhere/run", before=nobody)
    one_line(ended, "/mrecg-nowhere", "Permission denied; make it usable, or name another path")


@pytest.mark.parametrize("size", ["4k", "read-only"])
def test_a_shared_folder_that_cannot_be_used_is_one_warning(
    size: str, words: list[str], whole: Path, tmp_path: Path
) -> None:
    def play() -> None:
        room, folder = tmp_path / "room", tmp_path / "run"
        tmpfs(room, "4k" if size == "4k" else "1m")
        if size == "read-only":
            resize(room, "1m", read_only=True)
        ended = mrecg("quantize", *words, f"shared.folder={room / 'shared'}", f"hydra.run.dir={folder}")
        assert ended.code == 0, ended.err
        reason = "No space left on device" if size == "4k" else "Read-only file system"
        said = f"{room / 'shared'} cannot be written to ({reason}): this run continues"
        assert f"{ended.out}{ended.err}".count("shared.folder: ") == 1 and said in ended.out + ended.err
        assert "Traceback" not in ended.out + ended.err
        for name in ("quantized.safetensors", "plan.json", "units.csv"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()

    alone(play)


def raises(error: Callable[[], object]) -> Callable[[], None]:
    """Let memory end in the first group that the probe has not optimised already."""

    def patch() -> None:
        real, chunks = GroupReconstruction.training_step, list[int]()

        def chunk(module: GroupReconstruction, edges: Any) -> None:
            chunks.append(1)
            if (
                len(chunks) == 6
            ):  # behind the probe, in the run itself: its first groups are those of the probe
                error()
            real(module, edges)

        patched: Any = GroupReconstruction
        patched.training_step = chunk

    return patch


def of_gpu() -> None:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which "
        "1 GiB is free. Of the allocated memory 13 GiB is allocated by PyTorch. See documentation for more."
    )


def of_python() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("error", "reason"),
    first_fast(
        [
            (of_gpu, r"\(CUDA out of memory\. Tried to allocate 2\.00 GiB\)"),
            (of_python, r"\(MemoryError\)"),
            (lambda: torch.empty(1 << 46), r"DefaultCPUAllocator: can't allocate memory"),  # really tried
        ]
    ),
    ids=["gpu", "python", "cpu"],
)
def test_no_memory_is_one_line_and_loses_no_group(
    error: Callable[[], object], reason: str, words: list[str], whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = ("quantize", *words, f"hydra.run.dir={folder}")
    one_line(
        mrecg(*command, before=raises(error)),
        r"^mrecg: out of memory during reconstruct, group third\+head ",
        reason,
        r"what is finished is kept: free memory, or set cache\.device=disk or a smaller cache\.budget_mb, ",
        r"and continue with resume=run allow_import=true; or start again with less than ",
        r"trainer\.batch_size=4, data\.batch_size=\d+, ",
        r"data\.calibration_images=12 or smaller groups \(granularity=block\)$",
    )
    nothing_is_half_there(folder)
    kept = {file: file.stat().st_ino for file in (folder / CHECKPOINT).glob("group-*.entry")}
    assert len(kept) >= 3
    if reason == r"\(MemoryError\)":
        return  # to go on takes seconds, and does not depend on how the run had ended
    assert mrecg("quantize", "resume=run", "allow_import=true").code == 0
    assert content(folder) == content(whole)


def test_no_memory_elsewhere_is_one_line(whole: Path) -> None:
    def patch() -> None:
        def refused(*_: Any, **__: Any) -> None:
            raise MemoryError("not enough")

        from mrecg.pipeline import evaluate

        module: Any = evaluate
        module.evaluate = refused

    one_line(
        mrecg("evaluate", f"run={whole}", "allow_import=true", before=patch),
        r"^mrecg: out of memory \(not enough\); free memory, or lower data\.batch_size$",
    )


def test_a_cache_that_gets_no_memory_goes_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(10, 3, 4, 4)

    def refused(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1920 bytes.")

    with Cache(CacheConfig(folder=tmp_path, budget_mb=100), torch.device("cpu")) as kept:
        with monkeypatch.context() as patched:
            patched.setattr(torch, "empty", refused)
            store = kept.write(iter([values]), 10)
        assert kept.use.disk_mb > 0 and torch.equal(next(store.batches(10)), values)


def test_without_a_temporary_folder_the_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(
        ConfigError, match=r"^cache\.folder: the temporary folder is not writable \(No usable"
    ):
        activation_cache.check(CacheConfig(device="disk"), torch.device("cpu"))


@pytest.mark.parametrize("read_only", [False, True])
def test_kernels_need_no_room_to_be_kept(read_only: bool, tmp_path: Path) -> None:
    (tmp_path / "fresh_kernel.py").write_text("def double(x):\n    return 2 * x\n")
    spec = spec_from_file_location("fresh_kernel", tmp_path / "fresh_kernel.py")
    assert spec is not None and spec.loader is not None
    fresh = module_from_spec(spec)
    spec.loader.exec_module(fresh)

    def play() -> None:
        room = tmp_path / "room"
        tmpfs(room, "4k")
        settings: Any = numba.config
        settings.CACHE_DIR = str(room)
        double = kernel(fresh.double) if not read_only else None
        (room / "other").write_bytes(b"x" * 4096)
        resize(room, "4k", read_only=read_only)
        assert (double or kernel(fresh.double))(21) == 42
        assert [file.name for file in room.rglob("*") if file.is_file()] == ["other"]

    alone(play)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("std::bad_alloc"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (RunError("a full disk"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_no_memory_is_known_in_all_its_words(error: Exception, short: bool) -> None:
    assert out_of_memory(error) == short


@pytest.mark.slow
def test_clocks_that_jump_change_nothing(words: list[str], whole: Path, tmp_path: Path) -> None:
    def jumping() -> None:
        real, days = time.time_ns, itertools.cycle((1, -1))

        def nanoseconds() -> int:
            return real() + next(days) * DAY * 10**9

        time.time, time.time_ns = (lambda: nanoseconds() / 1e9), nanoseconds

    folder, shared = tmp_path / "run", tmp_path / "shared"
    command = ("quantize", *words, f"shared.folder={shared}", f"hydra.run.dir={folder}")
    begin = time.monotonic()
    ended = mrecg(*command, before=jumping)
    assert ended.code == 0 and ended.told == [], ended.err
    assert (folder / "quantized.safetensors").read_bytes() == (whole / "quantized.safetensors").read_bytes()
    summary = json.loads((folder / "summary.json").read_text())
    most = time.monotonic() - begin
    assert all(0 <= value <= most for value in summary["timing_s"].values())
    assert all(0 <= group["seconds"] <= most for group in summary["group_results"])
    assert not re.search(r"-\d+(\.\d+)? s|\d\d+ (h|min)\b|days?", ended.err)


def test_what_was_used_under_a_wrong_clock_ages_like_the_rest(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, limit_mb=3)
    keys = [f"group-{i:032x}" for i in range(5)]
    entry = Entry({}, {"x": torch.zeros(MB // 4 - 200)})  # 1 MB
    for key in keys[:2]:
        store.put(key, entry)
        os.utime(
            tmp_path / f"{key}.entry", (time.time() + DAY, time.time() + DAY)
        )  # the clock was a day ahead
    store.put(keys[2], entry)
    for key in keys[:2]:
        assert (tmp_path / f"{key}.entry").stat().st_mtime <= time.time()
    time.sleep(0.02)
    assert store.get(keys[2]) is not None  # in use
    store.put(keys[3], entry)
    time.sleep(0.02)
    store.put(keys[4], entry)
    assert [store.has(key) for key in keys] == [False, False, True, True, True]


def test_an_owner_from_the_future_is_an_owner(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        owner = json.loads((tmp_path / "run.lock").read_text())
        (tmp_path / "run.lock").write_text(json.dumps({**owner, "started": "2999-01-01T00:00:00+00:00"}))
        assert _elapsed(tmp_path) == 0.0
        refused = pytest.raises(InUseError, match=rf"process {os.getpid()} on .*since 2999-01-01")
        with refused, run_lock(tmp_path, patience=0.1):
            pytest.fail("two hold it")


@pytest.mark.slow
def test_without_a_home_a_browser_or_a_place_for_fonts(words: list[str], tmp_path: Path) -> None:
    def play() -> None:
        room = tmp_path / "room"
        tmpfs(room, "64m")
        freeze_everything()
        for name in ("HOME", "USER", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DISPLAY", "BROWSER", "TMPDIR"):
            os.environ.pop(name, None)
        nowhere = str(tmp_path / "nowhere")
        os.environ |= {"HOME": nowhere, "MPLCONFIGDIR": nowhere, "PATH": nowhere, "OMP_NUM_THREADS": "1"}
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.chdir(room)
        if not os.access(sys.executable, os.X_OK):
            raise RefusedError("Python lies where only its owner can start it")
        commands = (
            ["quantize", *words, "hydra.run.dir=run", "trainer.kernels=plain", "planner=modcap"],
            ["report", "run", "-o", "page.html", "--figures", "figures"],
        )
        ended = subprocess.run(
            [sys.executable, "-c", TWO, *map(json.dumps, commands)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        assert "report: page.html" in ended.stdout
        assert (room / "page.html").read_text().rstrip().endswith("</html>")
        assert sorted({file.suffix for file in (room / "figures").iterdir()}) == [".csv", ".pdf", ".svg"]

    alone(play)
