"""Every reader of ours by the file that it reads, a folder to read from, and ways to break files."""

import copy
import hashlib
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import safetensors.torch
import tiny_net
import torch

from mrecg.cli.export import _earlier
from mrecg.config.validate import plain, run_config
from mrecg.errors import MrecgError
from mrecg.formats.checkpoint import fill, load_file
from mrecg.formats.checkpoint import read as read_saved
from mrecg.formats.packed import DESCRIPTION, FORMAT, VERSION
from mrecg.formats.runners import PROPERTY, open_file
from mrecg.formats.write import export
from mrecg.models.checkpoint_file import locate, read
from mrecg.pipeline import run as pipeline
from mrecg.pipeline.checkpoint import GroupStore, Stores
from mrecg.pipeline.result import Result, _decisions, _read, _valid
from mrecg.planner.schedule import Plan
from mrecg.report.collection import described, read_collection, write_collection
from mrecg.report.decisions import class_folders, read_decisions
from mrecg.report.markdown import markdown
from mrecg.report.page.provenance import provenance
from mrecg.runs.identity import read_config
from mrecg.runs.load import load_run
from mrecg.runs.manifest import Job, read_command, read_jobs, read_launch, recorded_config, write_jobs
from mrecg.runs.sweep_status import read_sweep
from mrecg.sweep.front import Found, Objective, measure
from mrecg.sweep.job_state import state
from mrecg.system.content_store import _MAGIC, ContentStore, Entry, _content

KEY = "probe-" + "0" * 32
ONNX, PACKED = "quantized.onnx", "quantized.safetensors"
SAID, FACTS = "description.json", "metadata.json"
"""What a packed file says of itself, and an ONNX file: taken out, so that damage reaches behind the sums."""


class Reader(NamedTuple):
    """One reader.

    Attributes:
        file: What it reads, below the folder.
        seed: A content that is right.
        read: Reads the folder.
    """

    file: str
    seed: bytes
    read: Callable[[Path], object]


def readers(folder: Path) -> dict[str, Reader]:
    """Make a finished run, a sweep, a search and a store, and say who reads them.

    Args:
        folder: An empty folder.

    Returns:
        The readers by name.
    """
    run = folder / "run"
    result = pipeline.run(_config(), _made(run))
    overrides = ["bits=w2a4", "seed=0"]
    job = Job(number=0, identity="0" * 16, folder="run", overrides=tuple(overrides), config=plain(_config()))
    write_jobs(folder, [job], command="mrecg quantize -m", verb="quantize", arguments=overrides)
    objectives = (Objective("quantized.top1", maximize=True), Objective("seconds", maximize=False))
    trial = {
        "number": 0,
        "params": {"seed": "1"},
        "folder": "run",
        "state": "completed",
        "values": [0.5, 1.0],
    }
    (folder / "search.json").write_text(json.dumps({"schema_version": 1, "trials": [trial]}))
    facts = {"measured": [[0.1, 0.2]], "seconds": 1.0, "curve": [], "floor": None, "noted": {}, "retries": 0}
    entry = _content(Entry({**facts, "reused": False}, {"a": torch.ones(3)}))
    torch.save(result.network.state(), folder / "w.pth")
    curve = next((run / "curves").glob("*.csv")).relative_to(folder)
    picture = torch.zeros(2, 3, 16, 16)
    made_file = export(result, result.config, run / ONNX, form="onnx", batches=[(picture, None)])
    (run / "export.json").write_text(json.dumps({"onnx": made_file.as_dict()}))
    packed = safetensors.torch.load_file(run / PACKED)
    (run / SAID).write_bytes(zlib.decompress(packed[DESCRIPTION].numpy().tobytes()))
    model = onnx.load_from_string((run / ONNX).read_bytes())
    (run / FACTS).write_text(next(one.value for one in model.metadata_props if one.key == PROPERTY))

    def decisions(place: Path) -> None:
        loaded = load_run(place / "run")
        read_decisions(loaded)
        _decisions(place / "run/decisions.csv")

    def config(place: Path) -> None:
        provenance({"a": load_run(place / "run")})
        read_config(place / "run")

    def summary(place: Path) -> None:
        state(place / "run")
        read_sweep(place)
        measure(place / "run", objectives)
        load_run(place / "run")

    def plan(place: Path) -> None:
        file = place / "run/plan.json"
        _valid(file, Plan.from_dict, _read(file))
        load_run(place / "run")

    def sweep(place: Path) -> None:
        read_sweep(place)
        read_jobs(place)
        read_command(place)
        read_launch(place)
        for job in read_jobs(place):
            recorded_config(job, place)

    def said(place: Path) -> None:
        """Read a packed file whose sums are right, whatever it says of itself."""
        text = bytearray(zlib.compress((place / "run" / SAID).read_bytes()))
        held = {**packed, DESCRIPTION: torch.frombuffer(text, dtype=torch.uint8)}
        kept = place / "said.safetensors"
        kept.write_bytes(safetensors.torch.save(held, {FORMAT: str(VERSION)}))
        load_file(kept, model=tiny_net.build())

    def facts_of_onnx(place: Path) -> None:
        """Read an ONNX file that runs, whatever its metadata say."""
        # A bytes field, as far as protobuf goes: what is no text must be refused, too.
        text = (place / "run" / FACTS).read_bytes().decode("utf-8", "replace")
        onnx.helper.set_model_props(model, {PROPERTY: text})
        kept = place / "facts.onnx"
        kept.write_bytes(model.SerializeToString())
        open_file(kept)

    def network(place: Path) -> None:
        opened, _ = open_file(place / "run" / ONNX)
        opened(picture)

    write_collection(described([load_run(run)]), folder / "numbers.json")

    found = {
        "numbers": ("numbers.json", lambda p: markdown(read_collection(p / "numbers.json"))),
        "plan": ("run/plan.json", plan),
        "summary": ("run/summary.json", summary),
        "environment": ("run/environment.json", lambda p: load_run(p / "run")),
        "images": ("run/images.json", lambda p: class_folders(load_run(p / "run"))),
        "config": ("run/config.yaml", config),
        "curve": (str(curve), lambda p: load_run(p / "run")),
        "decisions": ("run/decisions.csv", decisions),
        "weights": (f"run/{PACKED}", lambda p: _weights(result, p / "run")),
        "packed": (f"run/{PACKED}", lambda p: load_file(p / "run" / PACKED, model=tiny_net.build())),
        "description": (f"run/{SAID}", said),
        "onnx": (f"run/{ONNX}", network),
        "metadata": (f"run/{FACTS}", facts_of_onnx),
        "export": ("run/export.json", lambda p: _earlier(p / "run/export.json")),
        "sweep": ("sweep.json", sweep),
        "search": ("search.json", lambda p: Found.read(p, objectives)),
        "checkpoint": ("w.pth", lambda p: locate(read(p / "w.pth"), None, "w.pth")),
    }
    made = {name: Reader(file, (folder / file).read_bytes(), how) for name, (file, how) in found.items()}
    made["store"] = Reader(f"{KEY}.entry", entry[len(_MAGIC) + 32 :], _shelf)
    return made


def try_reader(reader: Reader, content: bytes, folder: Path) -> bool:
    """Let a reader read a content.

    Args:
        reader: The reader.
        content: Of its file.
        folder: Where `readers` made everything; the file is as before when this returns.

    Returns:
        Whether it was believed; False: it was refused, as it should be.

    Raises:
        Exception: It was neither, which is a defect.
    """
    file = folder / reader.file
    file.write_bytes(content)
    try:
        reader.read(folder)
    except MrecgError:
        return False
    finally:
        file.write_bytes(reader.seed)
    return True


ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 2, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "NaN", "../..", "<b>\n"),
    *([], {}, [[]], [None], {"a": {}}, "x" * 5000, "9" * 5000),
)


def broken(content: bytes, chance: random.Random) -> bytes:
    """Break a content: bytes flipped, cut, doubled; or a value of its JSON replaced.

    Args:
        content: One that is right.
        chance: What decides.

    Returns:
        Another one.
    """
    if content[:1] in b"{[" and chance.random() < 0.6:
        values = json.loads(content)
        for _ in range(chance.randint(1, 3)):
            _replace(values, chance)
        return json.dumps(values).encode()
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, size = chance.randrange(len(changed) + 1), chance.choice([1, 8, 64, len(changed) // 2])
        how = chance.randrange(6)
        if how == 0:
            del changed[at : at + size]
        elif how == 1:
            changed[at:at] = changed[at : at + size]
        elif how == 2:
            changed[at:at] = chance.choice(
                [b"[" * 3000, b'{"a":' * 3000, b"9" * 400, b"\xff\x00", b"*a ", b"-"]
            )
        elif how == 3:
            changed[:8] = chance.choice([0, 2**31, 2**63, 2**64 - 1, len(changed)]).to_bytes(8, "little")
        elif changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _replace(values: Any, chance: random.Random) -> None:
    """Replace or remove one value somewhere below."""
    while values:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = chance.choice(keys)
        if isinstance(values[key], dict | list) and values[key] and chance.random() < 0.8:
            values = values[key]
        elif chance.random() < 0.2:
            del values[key]
            return
        else:
            values[key] = copy.deepcopy(chance.choice(ODD))  # another time something is put into it
            return


def _config() -> Any:
    data = {"kind": "float", "size": 8}
    return run_config(
        {
            "model": {"source": "target", "target": "tiny_net.build", "input_shape": [3, 16, 16]},
            "data": {
                **{"source": "dataset", "name": "squares", "calibration_images": 8},
                **{f"{part}_dataset": "tiny_data.Squares" for part in ("calibration", "evaluation")},
                **{f"{part}_arguments": data for part in ("calibration", "evaluation")},
            },
            "calibration": {"bins": 64, "candidates": 4},
            "granularity": {"name": "block"},
            "trainer": {"steps": 2, "batch_size": 4, "log_every": 1},
            "logger": {"wandb": "disabled"},
        }
    )


def _weights(result: Result, run: Path) -> None:
    fill(result.network, read_saved(run / PACKED)[1], str(run))


def _shelf(folder: Path) -> None:
    """Read an entry as it is, and as one whose sum is right."""
    file = folder / f"{KEY}.entry"
    body = file.read_bytes()
    ContentStore(folder).get(KEY)
    store = GroupStore(Stores(ContentStore(folder), None), "root")
    store.place = KEY
    file.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)
    store.recall()
    store.recall_partial("a")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
