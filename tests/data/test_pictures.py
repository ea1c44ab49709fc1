import io
import os
import socket
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from mrecg.config.inputs import DataConfig
from mrecg.data.images import Images
from mrecg.data.pictures import FORMATS, MOST_PIXELS, read_picture
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.transform import Transform
from mrecg.errors import DataError

Load = Callable[..., Images]
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n"
    b"(executed) (w) file closefile\nshowpage\n%%EOF\n"
)
WMF = bytes.fromhex("d7cdc69a") + bytes(18) + bytes(200)


def encoded(kind: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (16, 16), 7).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a picture starts a program."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a picture has started a program")

    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "posix_spawn")):
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_the_formats_of_the_listed_endings_are_read_under_any_of_them(
    kind: str, ending: str, tmp_path: Path
) -> None:
    (path := tmp_path / f"a{ending}").write_bytes(encoded(kind))  # ImageNet has such files
    assert read_picture(path).size == (16, 16)


@pytest.mark.parametrize(
    "kind", ["EPS", "GIF", "PDF", "TGA", "ICO", "PCX", "postscript", "cut", "WMF", "XBM"]
)
def test_any_other_format_is_refused_and_starts_no_program(
    kind: str, tmp_path: Path, no_process: None
) -> None:
    own = {"postscript": POSTSCRIPT, "cut": POSTSCRIPT[:70], "WMF": WMF}
    content = own[kind] if kind in own else encoded(kind, "1" if kind == "XBM" else "RGB")
    (path := tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: is no image that can be read \(none of the formats JPEG, "):
        read_picture(path)


@pytest.mark.parametrize("size", [(13_000, 13_000), (40_000, 40_000), (1, MOST_PIXELS + 1)])
def test_a_small_file_that_says_it_is_large_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    content = encoded("PNG")
    width, height = size
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    stream = io.BytesIO()
    stream.write(content[:8])
    PngImagePlugin.putchunk(stream, b"IHDR", header[4:])
    (path := tmp_path / "a.png").write_bytes(stream.getvalue() + content[33:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"a\.png: has .*more than 89,478,485") as error:
            read_picture(path)
    assert "\n" not in str(error.value)


def test_a_strip_is_not_resized_to_gigabytes(preprocessing: Preprocessing, tmp_path: Path) -> None:
    transform = Transform.of(DataConfig(resize=256), preprocessing)
    Image.new("RGB", (60_000, 2)).save(path := tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: with data\.resize=256: has 256 x 7,680,000 pixels"):
        transform(read_picture(path), str(path))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_palette_with_transparency_gives_its_colours_without_a_warning(
    channels: int, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(colours).quantize(16)
    picture.save(path := tmp_path / "a.png", transparency=bytes(range(16)))
    stored = read_picture(path)
    assert stored.mode == "P" and isinstance(stored.info["transparency"], bytes)
    wants = Preprocessing(input_shape=(channels, 16, 16), mean=(0.0,), std=(1.0,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Transform.of(DataConfig(), wants)(stored, "x")
    expected = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(16, 16, channels)
    assert torch.equal(found, torch.from_numpy(expected.copy()).permute(2, 0, 1) / 255)
    assert isinstance(stored.info["transparency"], bytes), "the caller's picture is changed"


@pytest.mark.parametrize("cut", [8, 20, 30, 60, 200])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_breaks_off_is_one_line(kind: str, cut: int, tmp_path: Path) -> None:
    (path := tmp_path / "a.png").write_bytes(encoded(kind)[:cut])
    try:
        read_picture(path)
    except DataError as error:
        assert str(error).startswith(f"{path}: is no image that can be read (") and len(str(error)) < 400


def special(path: Path, kind: str) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(path.parent)  # the name of a socket is short
            try:
                server.bind(path.name)
            finally:
                os.chdir(here)
    return path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
def test_what_only_has_a_files_name_is_refused_and_not_waited_for(
    kind: str, images: Load, tmp_path: Path
) -> None:
    path = special(tmp_path / "a.png", kind)
    with pytest.raises(DataError, match=r"a\.png: is no file$"):
        read_picture(path)
    (tmp_path / "val").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "val" / "x.png")
    with pytest.raises(DataError, match=r"^data\.labels_path: .*a\.png is no file$"):
        images(evaluation_path=tmp_path / "val", labels_path=path)
    if kind != "folder":
        with pytest.raises(DataError, match=r"^data\.classes_path: .*a\.png is no file$"):
            images(classes_path=path)
    with pytest.raises(DataError, match=r"'a\.png' is no file in data\.evaluation_path"):
        (tmp_path / "l.csv").write_text("file,label\na.png,0\n")
        images(evaluation_path=tmp_path, labels_path=tmp_path / "l.csv")
