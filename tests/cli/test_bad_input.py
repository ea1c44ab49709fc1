# ruff: noqa: E501 (a table with one mistake a line)
"""Bad input: one line that names the thing and says what to do, the exit code, and nothing written half."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import bad_files as bad
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

Call = Callable[..., Any]
LONG = "x" * 300


class Case(NamedTuple):
    """One mistake.

    Attributes:
        name: Of the test.
        words: Overrides, or what writes files and gives them.
        line: Regular expression that the one line matches.
        code: The exit code.
        verb: The verb.
    """

    name: str
    words: str | Callable[..., list[str]]
    line: str
    code: int = 2
    verb: str = "quantize"


def nan(name: str, value: float = float("nan")) -> Callable[[], torch.Tensor]:
    return lambda: torch.full_like(bad.weights()[name], value)


CONFIG = [
    Case("no verb", "", r"command: 'quantise' is not a choice \(did you mean 'quantize'\?\)", verb="quantise"),
    Case("unknown key", "bits.wieght=4", r"bits\.wieght: unknown key \(did you mean bits\.weight\?\)"),
    Case("unknown group", "bitts=w2a4", r"bitts: unknown key \(did you mean bits\?\)"),
    Case("word for a number", "trainer.steps=many", r"trainer\.steps: 'many' is not right: .*integer"),
    Case("half a step", "trainer.steps=2.5", r"trainer\.steps: 2\.5 is not right"),
    Case("list for a number", "seed=[1,2]", r"seed: \[1, 2\] is not right"),
    Case("number for a group", "trainer=3", r"trainer"),
    Case("bits 0", "bits.weight=0", r"bits\.weight: 0 is not right: .*2"),
    Case("bits 1", "bits.activation=1", r"bits\.activation: 1 is not right: .*2"),
    Case("bits 33", "bits.weight=33", r"bits\.weight: 33 is not right: .*32"),
    Case("bits 16", "bits.input=16", r"bits\.input: 16 is not right: must be 2 to 8, or 32"),
    Case("bits not a number", "bits.weight=.nan", r"bits\.weight: "),
    Case("negative steps", "trainer.steps=-1", r"trainer\.steps: -1 is not right"),
    Case("no steps", "trainer.steps=0", r"trainer\.steps: 0 is not right"),
    Case("batch of none", "trainer.batch_size=0", r"trainer\.batch_size: 0 is not right"),
    Case("evaluation batch of none", "data.batch_size=0", r"data\.batch_size: 0 is not right"),
    Case("no images", "data.calibration_images=0", r"data\.calibration_images: 0 is not right"),
    Case("seed too large", "seed=4294967296", r"seed: 4294967296 is not right"),
    Case("huge number", f"seed={'9' * 5000}", r"seed: |Exceeds the limit"),
    Case("rate not a number", "trainer.lr_factor=nan", r"trainer\.lr_factor: nan is not right"),
    Case("rate infinite", "trainer.lr_factor=inf", r"trainer\.lr_factor: inf is not right"),
    Case("device", "trainer.device=tpu", r"trainer\.device: 'tpu' is not right: choose from auto"),
    Case("method", "method=qdorp", r"method: 'qdorp' is not a choice \(did you mean 'qdrop'\?\)"),
    Case("broken override", "bits.weight", r"bits\.weight"),
    Case("broken list", "model.input_shape=[3,16", r"model\.input_shape|mismatched|missing|viable"),
    Case("negative shape", "model.input_shape=[3,-16,16]", r"model\.input_shape\.1: -16 is not right"),
    Case("unknown model", "model=resnet19", r"model: 'resnet19' is not a choice"),
    Case("target without a package", "model.target=Net", r"Net: cannot be imported, it is no import path; give package\.module\.name"),
    Case("target as a path", "model.target=tiny_net/Net", r"tiny_net/Net: cannot be imported, it is no"),
    Case("target with an empty part", "model.target=tiny_net..Net", r"tiny_net\.\.Net: cannot be imported, it is no"),
    Case("unknown target", "model.target=nothing.build", r"nothing\.build: cannot be imported"),
    Case("target no module", "model.target=tiny_net.not_a_model", r"not_a_model: cannot|not an nn\.Module|refuses"),
    Case("target's argument", "model.arguments={clases:3}", r"model\.arguments: tiny_net\.build refuses"),
    Case("target fails", "model.target=bad_files.raising", r"bad_files\.raising refuses .*out of luck on two lines"),
    Case("target too large", "model.arguments={width:1000000000000}", r"model\.arguments: tiny_net\.build refuses"),
    Case("interpolation", "name=${nowhere}", r"nowhere"),
    Case("target ends the program", "model.target=bad_files.leaving", r"model\.target: bad_files\.leaving ends the program"),
    Case("target refuses to be imported", "model.target=bad_files.no", r"bad_files\.no: cannot be imported"),
    Case("URL", 'model.checkpoint="https://[/a.pth"', r"https://\[/a\.pth is not a URL"),
    Case("NUL in a path", 'data.calibration_path="a\0b"', r"NUL"),
    Case("NUL in a folder", 'hydra.run.dir="a\0b"', r"NUL"),
]  # fmt: skip
IMAGES = [
    Case("batch over images", "trainer.batch_size=13", r"trainer\.batch_size: 13 is not right: .*12"),
    Case("more than there are", "data.calibration_images=19", r"data\.calibration_images: 19 images are asked for"),
    Case("one image", bad.images(bad.picture("RGB"), count=1), r"12 images are asked for, and there are 1; set data\.calibration_images=1, or all for all$"),
    Case("images of another kind", bad.images(lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")), r"00\.png: is no image that can be read \(none of the formats JPEG"),
    Case("a bomb of pixels", bad.images(bad.picture("1", (13_000, 13_000))), r"00\.png: has 13,000 x 13,000 pixels, more than 89,478,485"),
    Case("resize without bound", "data.resize=1000000", r"data\.resize: 1000000 is not right: wants a number less than or equal to 8192"),
    Case("shape without bound", "model.input_shape=[3,100000,100000]", r"model\.input_shape\.1: 100000 is not right"),
    Case("deviation of nothing", "model.preprocessing.std=[1e-40]", r"model\.preprocessing\.std\.0: 1e-40 is not right"),
    Case("mean not a number", "model.preprocessing.mean=[nan]", r"model\.preprocessing\.mean\.0: nan is not right"),
    Case("a pipe for an image", bad.images(os.mkfifo), r"00\.png: is no file$"),
    Case("a pipe for labels", lambda: os.mkfifo("l.csv") or ["data.labels_path=l.csv"], r"data\.labels_path: l\.csv is no file$"),
    Case("a pipe for classes", lambda: os.mkfifo("c.txt") or ["data.classes_path=c.txt"], r"data\.classes_path: c\.txt is no file$"),
    Case("empty file", bad.images(bad.picture("RGB", cut=0)), r"00\.png: is no image that can be read"),
    Case("truncated image", bad.images(bad.picture("RGB", cut=45)), r"00\.png: is no image that can be read"),
    Case("no image", bad.images(lambda p: p.write_text("<html>")), r"00\.png: is no image that can be read"),
    Case("a pickle for an image", bad.images(lambda p: p.write_bytes(bad.plain_pickle())), r"00\.png: is no image"),
    Case("sixteen bits", bad.images(bad.picture("I;16")), r"00\.png: .*mode I;16; wants 8 bits"),
    Case("floats", bad.images(bad.picture("F")), r"00\.png: .*mode F; wants 8 bits"),
    Case("image too small", bad.images(bad.picture("RGB", (1, 1))), r"00\.png: is 1 x 1 pixels .*too small"),
    Case("a folder for an image", bad.images(lambda p: p.mkdir()), r"12 images are asked for|00\.png"),
    Case("link to nowhere", bad.images(lambda p: p.symlink_to("gone.png")), r"00\.png: is no image"),
    Case("evaluation image", bad.images(bad.picture("RGB", cut=45), key="evaluation"), r"00\.png: is no image"),
    Case("missing folder", "data.calibration_path=nowhere", r"data\.calibration_path: nowhere does not exist"),
    Case("missing evaluation", "data.evaluation_path=nowhere", r"data\.evaluation_path: nowhere does not exist"),
    Case("empty folder", lambda: Path("e").mkdir() or ["data.calibration_path=e"], r"e holds no image \(\.jpg"),
    Case("file for a folder", lambda: [f"data.calibration_path={__file__}"], r"data\.calibration_path: .* is no folder"),
    Case("long path", f"data.calibration_path={LONG}", r"data\.calibration_path: x+ cannot be used \(File name too long\)"),
    Case("label too large", bad.labels("file,label\na.png,0\nb.png,3\n"), r"has label 3, the model 3 outputs"),
    Case("label of absurd size", bad.labels(f"file,label\na.png,{'9' * 5000}\n"), r"line 2: label of 5,000 digits is out of range"),
    Case("label beyond 64 bits", bad.labels(f"file,label\na.png,{2**63}\n"), r"line 2: label 9223372036854775808 is out of range"),
    Case("two label columns", bad.labels("file,label,label\na.png,0,1\n"), r"has 2 columns label; rename all but the right one"),
    Case("file twice", bad.labels("file,label\na.png,0\na.png,1\n"), r"labels\.csv line 3: 'a\.png' is on line 2, too"),
    Case("file missing", bad.labels("file,label\nz.png,0\n"), r"labels\.csv line 2: 'z\.png' is no file in"),
    Case("label negative", bad.labels("file,label\na.png,0\nb.png,-1\n"), r"labels\.csv line 3: .*-1"),
    Case("label missing", bad.labels("file,label\na.png,0\nb.png,\n"), r"labels\.csv line 3"),
    Case("label column", bad.labels("name,class\na.png,0\n"), r"labels\.csv.*file"),
    Case("label climbs", bad.labels("file,label\n../a.png,0\n"), r"'\.\./a\.png' is not right: give a path below"),
    Case("labels no text", bad.labels(b"\xff\xfe\x00"), r"labels\.csv"),
    Case("label of many digits", bad.labels(f"file,label\na.png,0\nb.png,{'9' * 5000}\n"), r"labels\.csv line 3: label of 5,000 digits is out of range"),
    Case("labels empty", bad.labels(""), r"labels\.csv"),
    Case("channels", "model.input_shape=[4,16,16]", r"model\.preprocessing|takes 4 channels"),
]  # fmt: skip
WEIGHTS = [
    Case("not there", "model.checkpoint=nowhere.pth", r"model\.checkpoint: nowhere\.pth does not exist"),
    Case("kind", lambda: [f"model.checkpoint={__file__}"], r"is of an unknown kind; choose from \.safetensors"),
    Case("empty", bad.raw("w.pth", b""), r"model\.checkpoint: w\.pth cannot be loaded"),
    Case("truncated", bad.torch_file(bad.weights, cut=900), r"model\.checkpoint: w\.pth cannot be loaded"),
    Case("no weights", bad.torch_file({"epoch": 3}), r"w\.pth holds no state dict; .*found epoch"),
    Case("code", bad.torch_file({"state_dict": bad.Evil()}), r"cannot be loaded without running its code: it needs \S+system"),
    Case("code, plain", bad.raw("w.pth", bad.plain_pickle), r"w\.pth cannot be loaded"),
    Case("code by name", bad.raw("w.safetensors", bad.plain_pickle), r"w\.safetensors cannot be loaded"),
    Case("bomb", bad.bomb, r"w\.pth cannot be loaded: its \S+ bytes unpack to 67,10"),
    Case("climbing archive", bad.climbing, r"w\.pth cannot be loaded"),
    Case("classes", bad.torch_file(lambda: bad.weights(10)), r"its last layer has 10 outputs, the model's 3: build it with 10"),
    Case("shape", bad.torch_file(lambda: bad.weights(stem__0__weight=torch.zeros(4, 3, 5, 5))), r"1 of another shape \(first stem\.0\.weight\)"),
    Case("NaN", bad.torch_file(lambda: bad.weights(stem__0__weight=nan("stem.0.weight")())), r"stem\.0\.weight holds 108 values of 108 that are NaN"),
    Case("infinite", bad.torch_file(lambda: bad.weights(head__bias=nan("head.bias", float("inf"))())), r"head\.bias holds 3 values of 3"),
    Case("NaN without a file", "model.target=bad_files.constant", r"model: .*holds 108 values of 108 that are NaN"),
    Case("negative variance", bad.torch_file(lambda: bad.weights(stem__1__running_var=-torch.ones(4))), r"stem\.1\.running_var holds 4 values of 4 below 0"),
    Case("too large", bad.torch_file(lambda: bad.weights(stem__0__weight=torch.full((4, 3, 3, 3), 3e38))), r"stem makes NaN or infinite values of the first calibration image, and its largest weight is 3e\+38"),
    Case("sparse", bad.torch_file(lambda: bad.weights(head__weight=torch.ones(3, 8).to_sparse())), r"head\.weight is sparse"),
    Case("integers", bad.torch_file(lambda: bad.weights(head__weight=torch.ones(3, 8).to(torch.int8))), r"head\.weight holds int8, the model has float32"),
    Case("tag too long", f"logger.tags=[{'x' * 65}]", r"logger\.tags\.0: 'x+' is not right: W&B takes 1 to 64 printable"),
    Case("tag empty", "logger.tags=['']", r"logger\.tags\.0: '' is not right: W&B takes 1 to 64"),
    Case("too many tags", f"logger.tags=[{','.join(f't{i}' for i in range(51))}]", r"logger\.tags: .* W&B takes 50 tags at most, and these are 51"),
    Case("project", "logger.project=a/b", r"logger\.project: 'a/b' is not right: W&B takes no project with /"),
    Case("project too long", f"logger.project={'x' * 129}", r"logger\.project: .* W&B takes 1 to 128"),
    Case("entity", "logger.entity=a/b", r"logger\.entity: 'a/b' is not right: W&B takes letters"),
    Case("group too long", f"logger.group={'x' * 129}", r"logger\.group: .* W&B takes 1 to 128"),
    Case("no header", bad.raw("w.safetensors", b""), r"w\.safetensors cannot be loaded"),
    Case("header too long", bad.raw("w.safetensors", bad.header("{}", length=2**62)), r"w\.safetensors cannot be loaded"),
    Case("header no JSON", bad.raw("w.safetensors", bad.header("{nothing")), r"w\.safetensors cannot be loaded"),
    Case("header deep", bad.raw("w.safetensors", bad.header('{"a":' * 9999)), r"w\.safetensors cannot be loaded"),
    Case("header type", bad.raw("w.safetensors", bad.header('{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,1]}}', body=b"1")), r"w\.safetensors cannot be loaded"),
    Case("offsets", bad.raw("w.safetensors", bad.overlapping), r"w\.safetensors cannot be loaded"),
    Case("another sum", lambda: [*bad.torch_file(bad.weights)(), f"model.sha256={'0' * 64}"], r"model\.sha256: w\.pth has"),
    Case("untraceable", "model.target=bad_files.dynamic", r"", 1),
    Case("no layers", "model.target=bad_files.bare", r"Sequential has no convolution or linear layer to quantize", 1),
    Case("k over n", "granularity=mixed planner=modcap planner.merge_count=99", r"planner\.merge_count: 99", verb="plan"),
]  # fmt: skip
RUNS = [
    Case(f"{name} {what}", bad.run_folder(name, change, verb=verb), line, verb=verb)
    for verb, name, what, change, line in [
        ("evaluate", "plan.json", "edited", bad.edit(groups=[["stem"]]), r"plan\.json: the groups do not hold every unit"),
        ("evaluate", "plan.json", "with another type", bad.edit(units=7), r"plan\.json: units: '7' is not right"),
        ("evaluate", "plan.json", "deep", bad.content("[" * 100_000), r"plan\.json: .*nested too deeply"),
        ("evaluate", "plan.json", "of a newer key", bad.edit(shiny=1), r"plan\.json: plan: 'shiny' is not a choice"),
        ("evaluate", "plan.json", "cut", bad.halved, r"plan\.json: not readable as JSON"),
        ("evaluate", "summary.json", "newer", bad.edit(schema_version=2), r"summary\.json: schema_version 2 was made by a newer version"),
        ("evaluate", "summary.json", "without units", bad.edit(units=None), r"summary\.json: "),
        ("evaluate", "config.yaml", "with an object", bad.content("!!python/object/apply:os.system ['touch executed']"), r"config\.yaml: cannot be read"),
        ("evaluate", "config.yaml", "with aliases", bad.content("a: &a [1]\nb: [*a, *a]\n"), r"config\.yaml: .*alias"),
        ("evaluate", "config.yaml", "newer", bad.config(shiny={"a": 1}), r"config\.yaml: shiny: unknown key"),
        ("evaluate", "quantized.safetensors", "cut", bad.halved, r"quantized\.safetensors: cannot be read"),
        ("evaluate", "quantized.safetensors", "poor", bad.stored(lambda t: t.pop("head.bias")), r"weights do not fit the model.*head"),
        ("evaluate", "quantized.safetensors", "NaN", bad.stored(lambda t: t["head.bias"].fill_(float("nan"))), r"head\.bias holds values that are not finite"),
        ("evaluate", "quantized.safetensors", "beyond its grid", bad.stored(lambda t: t["first.conv1.integers"].fill_(200)), r"first\.conv1 has integers .* of 2 bits"),
        ("evaluate", "decisions.csv", "broken", bad.content("label,fp,quantized\n1,2\n"), r"decisions\.csv: "),
        ("report", "summary.json", "newer", bad.edit(schema_version=2), r"summary\.json: schema_version 2 was made by a newer version"),
        ("report", "summary.json", "no version", bad.edit(schema_version="two"), r"summary\.json: schema_version 'two' is not right"),
        ("report", "summary.json", "empty", bad.content(""), r"summary\.json: not readable as JSON"),
        ("report", "summary.json", "a list", bad.content("[]"), r"summary\.json: holds a list, not an object"),
        ("report", "summary.json", "deep", bad.content('{"a":' * 5000), r"summary\.json: not readable as JSON"),
        ("report", "summary.json", "huge", bad.edit(seed=1e999), r"summary\.json: key 'seed' is not as expected"),
        ("report", "plan.json", "edited", bad.edit(groups=[["stem", "stem"]]), r"plan\.json: the groups do not hold"),
        ("report", "decisions.csv", "no text", bad.content(b"\xff\xfe"), r"decisions\.csv: "),
    ]
]  # fmt: skip
SWEEPS = [
    Case(f"sweep.json {name}", lambda text=text: Path("s").mkdir() or (Path("s/sweep.json").write_text(text) and ["status", "s"]), line, verb="sweep")
    for name, text, line in [
        ("newer", '{"schema_version": 2, "jobs": []}', r"sweep\.json: schema_version 2 was made by a newer version"),
        ("cut", '{"schema_version": 1, "jo', r"sweep\.json: not the list"),
        ("deep", "[" * 100_000, r"sweep\.json: not the list"),
        ("climbing", json.dumps({"jobs": [{"number": 0, "folder": "../..", "overrides": []}]}), r"sweep\.json: .*not inside"),
    ]
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run folder that is made once, where a test first needs it."""
    return {"at": tmp_path_factory.mktemp("finished") / "run"}


def check(outcome: Any, case: Case) -> None:
    """One line at the end, no traceback, nothing executed, nothing half written."""
    code, out, err = outcome
    last = err.splitlines()[-1]
    assert code == case.code, err
    assert last.startswith("mrecg: ") and re.search(case.line, last), last
    assert len(last) < 1200 and last.isprintable(), "too long for a line that somebody reads"
    assert "Traceback" not in out + err and "Error executing job" not in out + err and "a defect" not in err
    assert sum(line.startswith("mrecg: ") for line in err.splitlines()) == 1
    assert not bad.MARKER.exists()
    for file in Path("outputs").rglob("*"):
        assert not re.fullmatch(r"\.[^.]+\..+\.\w{8}", file.name), f"{file} is left over"
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".safetensors":
            load_file(file)


@pytest.mark.parametrize("case", [*CONFIG, *IMAGES, *WEIGHTS], ids=lambda case: case.name)
def test_a_mistake_is_one_line(case: Case, mrecg: Call, small: list[str]) -> None:
    own = case.words.split() if isinstance(case.words, str) else case.words()
    words = [*small, "granularity=block"] if case.verb in ("quantize", "plan") else []
    check(mrecg(case.verb, *words, *own), case)


@pytest.mark.parametrize("case", RUNS, ids=lambda case: case.name)
def test_a_run_folder_that_is_not_right_is_one_line(
    case: Case, mrecg: Call, small: list[str], finished: dict[str, Path]
) -> None:
    kept = finished["at"]
    if not kept.exists():
        done = mrecg("quantize", *small, "granularity=block", f"hydra.run.dir={kept}")
        assert done.code == 0, done.err
    shutil.copytree(kept, "run")
    assert callable(case.words)
    check(mrecg(case.verb, *case.words(Path("run"))), case)


@pytest.mark.parametrize("case", SWEEPS, ids=lambda case: case.name)
def test_a_manifest_that_is_not_right_is_one_line(case: Case, mrecg: Call) -> None:
    assert callable(case.words)
    check(mrecg(case.verb, *case.words()), case)


@pytest.mark.parametrize("name", ["größe-模型-🦆", "<script>alert(1)</script>", "a&b'c", "x" * 200])
def test_names_may_be_odd(name: str, mrecg: Call, small: list[str]) -> None:
    code, _, err = mrecg(
        "plan", *small, "planner=modcap", f"model.name='{name.replace(chr(39), chr(92) + chr(39))}'"
    )
    assert code in (0, 1), err
    assert "Traceback" not in err and (code == 0 or len(name) == 200), err


def test_a_name_with_a_newline_stays_one_line(mrecg: Call, small: list[str]) -> None:
    code, _, err = mrecg("quantize", *small, "data.calibration_path='no\nwhere\x1b[31m'")
    assert code == 2
    assert "no where" in err.splitlines()[-1] and "\x1b[31m" not in err.splitlines()[-1]


def test_pictures_of_other_modes_are_pictures(mrecg: Call, small: list[str]) -> None:
    folder = Path("mixed <b>é\n")
    folder.mkdir()
    for i, mode in enumerate(["L", "1", "P", "RGBA", "CMYK", "LA"] * 2):
        Image.new(mode, (16, 16)).save(folder / f"{i}.{'jpg' if mode == 'CMYK' else 'png'}")
    folder.rename("mixed é")
    code, _, err = mrecg(
        "plan", *small, "planner=loss", "data.calibration_path='mixed é'", "planner.merge_count=1"
    )
    assert code == 0, err


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_traceback_is_for_those_who_ask(debug: str, mrecg: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRECG_DEBUG", debug)
    code, out, err = mrecg("quantize", "bits.weight=1")
    assert code == 2 and err.splitlines()[-1].startswith("mrecg: bits.weight: 1 is not right")
    assert ("Traceback" in err) == (debug == "1") and "Traceback" not in out
