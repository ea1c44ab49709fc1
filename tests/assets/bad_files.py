"""Files that nobody should have to read: broken, truncated, hostile; with the words that name them."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from tiny_net import build
from torch import Tensor, nn

MARKER = Path("executed")
"""What code in a file would make."""
Words = list[str]
SIZE = (16, 16)


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {MARKER.absolute()}",)


def weights(classes: int = 3, **changed: Any) -> dict[str, Any]:
    """A state dict of the tiny network, with some entries replaced."""
    return {**build(classes).state_dict(), **{key.replace("__", "."): v for key, v in changed.items()}}


def _at(file: Path | str) -> Words:
    return [f"model.checkpoint={file}"]


def torch_file(content: Any, *, cut: int | None = None) -> Callable[[], Words]:
    """A file of torch.save, or its beginning."""

    def make() -> Words:
        stream = io.BytesIO()
        torch.save(content() if callable(content) else content, stream)
        Path("w.pth").write_bytes(stream.getvalue()[:cut])
        return _at("w.pth")

    return make


def raw(name: str, content: bytes | Callable[[], bytes]) -> Callable[[], Words]:
    """A checkpoint of any bytes."""

    def make() -> Words:
        Path(name).write_bytes(content() if callable(content) else content)
        return _at(name)

    return make


def tensors(**changed: Tensor) -> Callable[[], Words]:
    """A safetensors file with some entries replaced."""

    def make() -> Words:
        save_file(weights(**changed), "w.safetensors")
        return _at("w.safetensors")

    return make


def header(text: str, *, length: int | None = None, body: bytes = b"") -> bytes:
    """A safetensors file with a header of one's own."""
    return struct.pack("<Q", len(text) if length is None else length) + text.encode() + body


def overlapping() -> bytes:
    """Two tensors in the same bytes, beyond the end of the file."""
    entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    return header(json.dumps({"a": entry, "b": entry}), body=b"1234")


def plain_pickle() -> bytes:
    """A pickle with code, without torch's archive."""
    return pickle.dumps({"state_dict": Evil()})


def bomb() -> Words:
    """A megabyte that unpacks to a gigabyte."""
    with zipfile.ZipFile("w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as stream:
            for _ in range(64):
                stream.write(bytes(2**20))
        archive.writestr("archive/version", "3\n")
    return _at("w.pth")


def climbing() -> Words:
    """An archive with a name that leaves its folder."""
    with zipfile.ZipFile("w.pth", "w") as archive:
        archive.writestr("../../executed", "x")
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    return _at("w.pth")


def images(
    write: Callable[[Path], object], *, key: str = "calibration", count: int = 12
) -> Callable[[], Words]:
    """A folder of good pictures whose first one is written by ``write``."""

    def make() -> Words:
        folder = Path("bad") / "a" if key == "evaluation" else Path("bad")
        folder.mkdir(parents=True)
        for i in range(1, count):
            Image.new("RGB", SIZE).save(folder / f"{i:02d}.png")
        write(folder / "00.png")
        return [f"data.{key}_path=bad"]

    return make


def picture(mode: str, size: tuple[int, int] = SIZE, *, cut: int | None = None) -> Callable[[Path], object]:
    """A picture of some mode, or its beginning."""

    def write(path: Path) -> None:
        stream = io.BytesIO()
        Image.new(mode, size).save(stream, "TIFF" if mode == "F" else "PNG")
        path.write_bytes(stream.getvalue()[:cut])

    return write


def labels(text: str | bytes) -> Callable[[], Words]:
    """A CSV file of labels for two pictures."""

    def make() -> Words:
        Path("val").mkdir()
        for name in "ab":
            Image.new("RGB", SIZE).save(f"val/{name}.png")
        Path("labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["data.evaluation_path=val", "data.labels_path=labels.csv", "data.classes_path=null"]

    return make


def run_folder(name: str, change: Callable[[Path], object], *, verb: str) -> Callable[[Path], Words]:
    """A finished run of which one file is not what it was."""

    def make(run: Path) -> Words:
        change(run / name)
        return [f"run={run}", "allow_import=true"] if verb == "evaluate" else [str(run)]

    return make


def edit(**values: Any) -> Callable[[Path], object]:
    """Change values of a JSON file; None: without the key."""

    def change(path: Path) -> None:
        kept = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))

    return change


def config(**values: Any) -> Callable[[Path], object]:
    """Change values of a YAML file."""

    def change(path: Path) -> None:
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))

    return change


def content(value: bytes | str) -> Callable[[Path], object]:
    """Replace a file."""
    return lambda path: path.write_bytes(value if isinstance(value, bytes) else value.encode())


def halved(path: Path) -> None:
    """Leave a file's first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def stored(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], object]:
    """Change the tensors of a quantized.safetensors; it is left as version 1, which says nothing of them."""

    def rewrite(path: Path) -> None:
        from mrecg.formats.checkpoint import read

        found = read(path)[1]
        change(found)
        save_file(found, path)

    return rewrite


class Dynamic(nn.Module):
    """What no tracer can follow: it asks for values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        while float(x.sum()) > 0:
            x = self.conv(x) - 1
        return x.mean((2, 3)) if x.max().item() > 0 else x.sum((2, 3)).tolist()


def dynamic(**_: object) -> nn.Module:
    """Build it."""
    return Dynamic()


def bare(**_: object) -> nn.Module:
    """A model without weights."""
    return nn.Sequential(nn.ReLU(), nn.Flatten())


def leaving(**_: object) -> nn.Module:
    """A constructor that ends the program."""
    raise SystemExit(0)


def raising(**_: object) -> nn.Module:
    """A constructor with a defect."""
    raise RuntimeError("out of luck\non two lines")


def constant(**_: object) -> nn.Module:
    """A network whose weights are no numbers."""
    model = build(3)
    for parameter in model.parameters():
        nn.init.constant_(parameter, float("nan"))
    return model
