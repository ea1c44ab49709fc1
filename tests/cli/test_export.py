# ruff: noqa: E501 (tables with one mistake a line)
"""``mrecg export`` and ``mrecg evaluate path=FILE``, in this process: files that are right, mistakes of one line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import mrecg as api
from mrecg.errors import ExportError
from mrecg.formats import own, runners
from mrecg.formats.registry import format_named
from mrecg.reconstruct import optimise

pytestmark = pytest.mark.usefixtures("one_onnx_registry")

Call = Callable[..., Any]
TRUST = "allow_import=true"
TOP1 = re.compile(r"top-1 (\d+\.\d\d %), top-5 \d+\.\d\d % on (\d+) images")
MADE = {"quantized.onnx", "quantized.pt2", "quantized.safetensors", "export.json"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run is kept that all tests share."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def run(mrecg: Call, small: list[str], kept: Path) -> Path:
    """A finished run, quantized where a test first needs it; not to be changed."""
    place = kept / "run"
    if not place.exists():
        outcome = mrecg("quantize", *small, "granularity=block", f"hydra.run.dir={place}")
        assert outcome.code == 0, outcome.err
    return place


@pytest.fixture
def exported(mrecg: Call, run: Path, kept: Path) -> tuple[Path, str]:
    """The same run with all of its files, and what was printed on the way; not to be changed."""
    # No name that a shell, Hydra or a protobuf would like.
    place, said = kept / "größe 模型, (1)", kept / "said.txt"
    if not said.exists():
        shutil.copytree(run, place, dirs_exist_ok=True)
        outcome = mrecg("export", str(place), "format=onnx,pt2,packed", "images=12", TRUST)
        assert outcome.code == 0, outcome.err
        assert "Traceback" not in outcome.out + outcome.err
        said.write_text(outcome.out, encoding="utf-8")
    return place, said.read_text(encoding="utf-8")


@pytest.fixture
def mine(exported: tuple[Path, str]) -> Path:
    """A copy of it that a test may break."""
    shutil.copytree(exported[0], "mine")
    return Path("mine")


def top1(outcome: Any) -> tuple[str, str]:
    """Top-1 and the number of images, as printed."""
    assert outcome.code == 0, outcome.err
    found = TOP1.search(outcome.out)
    assert found is not None, outcome.out
    return found[1], found[2]


def words_of(small: list[str], *, model: bool = False) -> list[str]:
    """What names the images, and with ``model`` also the network."""
    kinds = ("data", "trainer.batch_size", *(["model"] if model else []))
    return [word for word in small if word.startswith(kinds)]


def quoted(path: Path) -> str:
    """A path as a value of Hydra's grammar."""
    return f"path='{path}'"


def test_files_tables_and_a_record(exported: tuple[Path, str], run: Path) -> None:
    place, said = exported
    assert {file.name for file in place.iterdir()} - {file.name for file in run.iterdir()} == {
        *("quantized.onnx", "quantized.pt2", "export.json")
    }
    for word in ("Agreement with the run's network", "Size, bytes", "largest", "of the file"):
        assert word in said
    for form in ("onnx", "pt2", "packed"):
        assert f"{form}: {place / format_named(form).file}" in said
    # The packed file is the run's own, made again.
    packed = "quantized.safetensors"
    assert (place / packed).read_bytes() == (run / packed).read_bytes()

    record = json.loads((place / "export.json").read_text())
    assert set(record) == {"onnx", "pt2", "packed"}
    summary = json.loads((run / "summary.json").read_text())
    for form, runs in (("onnx", 2), ("pt2", 1), ("packed", 1)):
        one = record[form]
        assert one["format"] == form and one["file"] == str(place / format_named(form).file)
        assert one["bytes"] == (place / format_named(form).file).stat().st_size
        assert f"{one['bytes']:,}" in said
        assert {"fp": one["fp"], "quantized": one["by_bits"]} == summary["size_bytes"]
        assert (one["opset"] is not None) == (form == "onnx")
        assert sum(sum(row.values()) for row in one["containers"].values()) == sum(
            layer["weights"]
            for unit in json.loads((run / "plan.json").read_text())["facts"]
            for layer in unit["layers"]
        )
        assert len(one["agreements"]) == runs
        for agreement in one["agreements"]:
            assert (agreement["images"], agreement["labels"]) == (12, 12)
            assert agreement["same"] + len(agreement["ties"]) == 12
            assert all(tie["distance"] < 1e-3 for tie in agreement["ties"])
            assert agreement["correct"][0] == round(summary["quantized"]["top1"] * 12)
    assert record["onnx"]["opset"] == 25 and record["onnx"]["containers"]["2"].keys() == {"2"}


def test_files_hold_no_path_and_no_time(exported: tuple[Path, str], small: list[str], mrecg: Call) -> None:
    place, _ = exported
    for name in MADE - {"export.json"}:
        content = (place / name).read_bytes()
        for trace in (str(place).encode(), b"site-packages", str(Path(__file__).parents[2]).encode()):
            assert trace not in content, name
    again = mrecg("export", str(place), "format=onnx", "out=again.onnx", "images=1", TRUST)
    assert again.code == 0, again.err
    assert Path("again.onnx").read_bytes() == (place / "quantized.onnx").read_bytes()


@pytest.mark.slow
def test_every_file_measures_what_the_run_measures(
    mrecg: Call, small: list[str], exported: tuple[Path, str], run: Path
) -> None:
    place, _ = exported
    summary = json.loads((run / "summary.json").read_text())["quantized"]
    expected = (f"{100 * summary['top1']:.2f} %", "12")
    assert top1(mrecg("evaluate", f"run={run}", "trainer.device=cpu", TRUST)) == expected
    for name in ("quantized.onnx", "quantized.pt2", "quantized.safetensors"):
        outcome = mrecg("evaluate", quoted(place / name), TRUST, *words_of(small))
        assert top1(outcome) == expected, name
        assert name in outcome.out and "does not say" not in outcome.out + outcome.err
    written = max(Path("outputs").glob("*/*/evaluation.json"), key=lambda file: file.stat().st_mtime_ns)
    assert json.loads(written.read_text())["what"] == str(place / "quantized.safetensors")
    # ONNX needs no consent, and neither file the model's class; the others say what they would run.
    assert top1(mrecg("evaluate", quoted(place / "quantized.onnx"), *words_of(small))) == expected
    for name, what in (
        ("quantized.pt2", "would run expressions that torch.export.load evaluates"),
        ("quantized.safetensors", "would import and run model.target=tiny_net.build"),
    ):
        outcome = mrecg("evaluate", quoted(place / name), *words_of(small))
        assert outcome.code == 2 and what in outcome.line and f"add {TRUST}" in outcome.line


def test_a_file_alone_is_enough(
    mrecg: Call, small: list[str], exported: tuple[Path, str], run: Path, tmp_path: Path
) -> None:
    expected = top1(mrecg("evaluate", f"run={run}", "trainer.device=cpu", TRUST))
    for name in ("quantized.safetensors", "quantized.onnx"):
        elsewhere = tmp_path / "somewhere else é"
        elsewhere.mkdir(exist_ok=True)
        shutil.copy(exported[0] / name, elsewhere / f"my net{Path(name).suffix}")
        outcome = mrecg("evaluate", quoted(elsewhere / f"my net{Path(name).suffix}"), TRUST, *words_of(small))
        assert top1(outcome) == expected


@pytest.mark.slow
def test_a_resumed_run_is_exported(
    mrecg: Call, small: list[str], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    real = optimise.fit

    def fit(*arguments: Any, **more: Any) -> Any:
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(1)
        return real(*arguments, **more)

    words = [*small, "granularity=block", "shared.folder=null", "hydra.run.dir=stopped"]
    with monkeypatch.context() as patched:
        patched.setattr(optimise, "fit", fit)
        assert mrecg("quantize", *words).code == 130
    unfinished = mrecg("export", "stopped", "format=packed", TRUST)
    assert unfinished.code == 2 and "stopped: is no finished run" in unfinished.line
    assert not MADE & {file.name for file in Path("stopped").iterdir()}

    assert mrecg("quantize", "resume=stopped", TRUST).code == 0
    outcome = mrecg("export", "stopped", "format=onnx,packed", "images=4", TRUST)
    assert outcome.code == 0, outcome.err
    weights = "quantized.safetensors"
    assert Path("stopped", weights).read_bytes() == (run / weights).read_bytes()


@pytest.mark.slow
def test_other_images_and_a_file_elsewhere(mrecg: Call, small: list[str], run: Path, kept: Path) -> None:
    val = Path("other images")
    for i in range(5):
        (val / "bc"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (40 * i, 90, 20)).save(val / "bc"[i % 2] / f"{i}.png")
    others = [
        word for word in small if word.startswith("data") and not word.startswith("data.evaluation_path")
    ]
    shutil.copytree(run, "copy")
    outcome = mrecg(
        *("export", "copy", "format=pt2", "out=q p.pt2", "images=5", TRUST),
        *(*others, f"data.evaluation_path='{val}'"),
    )
    assert outcome.code == 0, outcome.err
    assert Path("q p.pt2").is_file() and not Path("copy/quantized.pt2").exists()
    record = json.loads(Path("copy/export.json").read_text())["pt2"]
    assert (record["file"], record["agreements"][0]["images"]) == ("q p.pt2", 5)
    # More than there are for evaluation: those for calibration follow, without labels.
    outcome = mrecg("export", "copy", "format=packed", TRUST)
    assert outcome.code == 0, outcome.err
    both = json.loads(Path("copy/export.json").read_text())
    assert set(both) == {"pt2", "packed"}  # what was exported before stays written down
    (agreement,) = both["packed"]["agreements"]
    assert (agreement["images"], agreement["labels"]) == (24, 12)


def test_a_damaged_record_is_made_anew(mrecg: Call, run: Path) -> None:
    shutil.copytree(run, "copy")
    for damaged in (b"[]", b'{"onnx": ', b"[" * 100_000, b"\xff"):
        Path("copy/export.json").write_bytes(damaged)
        assert mrecg("export", "copy", "format=packed", "images=1", TRUST).code == 0
        assert json.loads(Path("copy/export.json").read_text()).keys() == {"packed"}


def test_the_network_is_not_imported_without_consent(mrecg: Call, run: Path) -> None:
    shutil.copytree(run, "copy")
    outcome = mrecg("export", "copy", "format=onnx")
    assert outcome.code == 2
    assert "copy: would import and run model.target=tiny_net.build" in outcome.line
    assert not Path("copy/quantized.onnx").exists()


@pytest.mark.slow
def test_a_data_set_is_not_imported_without_consent(mrecg: Call, tmp_path: Path) -> None:
    """The model is our own and needs none, but the folder names code for its images."""
    outcome = mrecg(
        *("quantize", "granularity=block", "method=rtn", "logger=csv", "trainer.steps=1", "model=embedded"),
        *("trainer.batch_size=4", "calibration.candidates=4", "calibration.bins=64", "hydra.run.dir=run"),
        *("data=dataset", "data.calibration_dataset=tiny_data.Squares", "data.calibration_images=4"),
        *("data.calibration_arguments={size:4,label:null}", "data.resize=32", "data.batch_size=4"),
    )
    assert outcome.code == 0, outcome.err
    outcome = mrecg("export", "run", "format=packed", "images=2")
    assert outcome.code == 2
    assert "would import and run data.calibration_dataset=tiny_data.Squares" in outcome.line
    assert not Path("run/export.json").exists()
    outcome = mrecg("export", "run", "format=packed", "images=2", TRUST)
    assert outcome.code == 0, outcome.err


def retold(file: Path, to: Path, facts: str | None, **changes: Any) -> None:
    """Write an ONNX file again with other metadata, or none, and other properties of its graph."""
    model = onnx.load(file)
    del model.metadata_props[:]
    if facts is not None:
        helper.set_model_props(model, {"mrecg": facts})
    onnx.save(model, to)


def test_a_file_of_somebody_else_says_where_preprocessing_comes_from(
    mrecg: Call, small: list[str], exported: tuple[Path, str]
) -> None:
    retold(exported[0] / "quantized.onnx", Path("theirs.onnx"), None)
    expected = top1(mrecg("evaluate", quoted(exported[0] / "quantized.onnx"), *words_of(small)))
    outcome = mrecg("evaluate", "path=theirs.onnx", *words_of(small, model=True))
    assert top1(outcome) == expected
    assert "theirs.onnx does not say what its images are; taken as for model=tiny" in outcome.err


class Mistake(NamedTuple):
    """One mistake.

    Attributes:
        name: Of the test.
        words: Behind ``export``; ``RUN`` is the folder.
        line: Regular expression that the one line matches.
        code: The exit code.
    """

    name: str
    words: str
    line: str
    code: int = 2


MISTAKES = [
    Mistake("no run folder", "nowhere format=onnx", r"nowhere: is no finished run"),
    Mistake("nothing", "", r"export: requires one run folder"),
    Mistake("two folders", "RUN RUN2 format=onnx", r"export: requires one run folder"),
    Mistake("unknown format", "RUN format=onxx", r"format: 'onxx' is not a choice \(did you mean 'onnx'\?\)"),
    Mistake("no format", "RUN", r"format: is missing; choose from onnx, .*pt2, packed"),
    Mistake("empty format", "RUN format=", r"format: '' is not a choice"),
    Mistake("unknown among formats", "RUN format=onnx,tflite", r"format: 'tflite' is not a choice"),
    Mistake("unknown key", "RUN format=onnx opest=18", r"export: 'opest' is not a choice .*'opset'"),
    Mistake("opset too low", "RUN format=onnx opset=17", r"opset: 17 is not right; choose from 18 to 25"),
    Mistake("opset no number", "RUN format=onnx opset=x", r"opset: 'x' is not right"),
    Mistake("opset endless", f"RUN format=onnx opset={'9' * 5000}", r"opset: .* is not right"),
    Mistake("opset of another", "RUN format=pt2 opset=18", r"opset: goes with format=onnx, not with pt2"),
    Mistake("no images", "RUN format=onnx images=0", r"images: '0' is not right"),
    Mistake("images below", "RUN format=onnx images=-3", r"images: '-3' is not right"),
    Mistake("two formats, one file", "RUN format=onnx,pt2 out=x.onnx", r"out: names one file"),
    Mistake("folder of out", "RUN format=onnx out=no/x.onnx", r"out: no is not a folder; create it first"),
    Mistake("consent", "RUN format=onnx allow_import=yes", r"allow_import: 'yes' is not a choice"),
    Mistake(
        "unfinished", "UNFINISHED format=onnx", r"UNFINISHED: is no finished run, summary\.json is missing"
    ),
    Mistake("damaged weights", "DAMAGED format=onnx", r"DAMAGED/quantized\.safetensors: cannot be read"),
    Mistake(
        "images gone",
        "RUN format=onnx data=image_folder data.calibration_path=gone data.evaluation_path=gone",
        r"data\.(evaluation|calibration)_path: gone does not exist",
    ),
    Mistake(
        "part of images", "RUN format=onnx data.batch_size=2", r"data\.batch_size: goes with data=\.\.\."
    ),
    Mistake("unknown data", "RUN format=onnx data=imagnet", r"data: 'imagnet' is not a choice"),
    Mistake("images not theirs", "RUN format=onnx data=none", r"data=none|no image|there is none"),
]


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.name)
def test_a_mistake_is_one_line_and_leaves_no_file(case: Mistake, mrecg: Call, run: Path) -> None:
    for name in ("RUN", "UNFINISHED", "DAMAGED"):
        shutil.copytree(run, name)
    Path("UNFINISHED/summary.json").unlink()
    weights = Path("DAMAGED/quantized.safetensors")
    weights.write_bytes(weights.read_bytes()[:900])
    before = {path for path in Path().rglob("*") if "outputs" not in path.parts}
    outcome = mrecg("export", *case.words.split(), *([TRUST] * ("allow_import" not in case.words)))
    assert outcome.code == case.code, outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("mrecg: ") and re.search(case.line, last), last
    assert "Traceback" not in outcome.out + outcome.err and "a defect" not in outcome.err
    assert sum(line.startswith("mrecg: ") for line in outcome.err.splitlines()) == 1
    assert {path for path in Path().rglob("*") if "outputs" not in path.parts} == before


def test_a_folder_whose_name_looks_like_a_key(mrecg: Call, run: Path) -> None:
    shutil.copytree(run, "w=2 a=4")
    outcome = mrecg("export", "w=2 a=4", "format=packed", "images=1", TRUST)
    assert outcome.code == 0, outcome.err
    assert Path("w=2 a=4/export.json").is_file()


def two_inputs(file: Path) -> None:
    """A network that adds up two images."""
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 16, 16]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "two", kinds[:2], kinds[2:])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), file)


def of_type(kind: int, out: int, shape: list[Any]) -> Callable[[Path], None]:
    """A network that casts its images."""

    def make(file: Path) -> None:
        taken = helper.make_tensor_value_info("a", kind, ["n", 3, 16, 16])
        given = helper.make_tensor_value_info("b", out, shape)
        nodes = [helper.make_node("Cast", ["a"], ["c"], to=out)]
        nodes.append(
            helper.make_node("ReduceMean", ["c"], ["b"], keepdims=0, axes=[1, 2, 3][: 4 - len(shape)])
        )
        graph = helper.make_graph(nodes, "cast", [taken], [given])
        onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]), file)

    return make


def cut(name: str, part: float = 0.5) -> Callable[[Path], None]:
    """The beginning of one of our files."""

    def make(file: Path) -> None:
        content = Path("mine", name).read_bytes()
        file.write_bytes(content[: int(part * len(content))])

    return make


def nan(file: Path) -> None:
    """An ONNX file whose last bias is no number: it runs, and decides nothing."""
    model = onnx.load("mine/quantized.onnx")
    tensor = next(one for one in model.graph.initializer if one.name.endswith("bias"))
    tensor.raw_data = np.full_like(numpy_helper.to_array(tensor), np.nan).tobytes()
    onnx.save(model, file)


FILES: list[tuple[str, str, Callable[[Path], None] | bytes | None, str]] = [
    ("no such file", "gone.onnx", None, r"path: gone\.onnx does not exist"),
    ("ending", "net.tflite", b"x", r"net\.tflite is no file that can be evaluated; choose from \.onnx, \.pt2"),
    ("no ending", "net", b"x", r"path: net is no file that can be evaluated"),
    ("onnx, cut", "net.onnx", cut("quantized.onnx"), r"net\.onnx: ONNX Runtime cannot load it"),
    ("onnx, empty", "net.onnx", b"", r"net\.onnx: "),
    ("onnx, no protobuf", "net.onnx", b"<html>", r"net\.onnx: ONNX Runtime cannot load it"),
    ("onnx, two inputs", "net.onnx", two_inputs, r"net\.onnx: has to take one .*, takes a .*, b "),
    ("onnx, bytes in", "net.onnx", of_type(TensorProto.UINT8, TensorProto.FLOAT, ["n", 3]), r"tensor\(uint8\)"),
    ("onnx, double out", "net.onnx", of_type(TensorProto.FLOAT, TensorProto.DOUBLE, ["n", 3]), r"first output"),
    ("onnx, no logits", "net.onnx", of_type(TensorProto.FLOAT, TensorProto.FLOAT, ["n"]), r"logits"),
    ("onnx, facts", "net.onnx", lambda f: retold(Path("mine/quantized.onnx"), f, "{"), r"its metadata are not right"),
    ("onnx, facts deep", "net.onnx", lambda f: retold(Path("mine/quantized.onnx"), f, "[" * 9999), r"metadata"),
    ("onnx, facts poor", "net.onnx", lambda f: retold(Path("mine/quantized.onnx"), f, "{}"), r"metadata"),
    ("pt2, cut", "net.pt2", cut("quantized.pt2"), r"net\.pt2: torch\.export\.load cannot read it"),
    ("pt2, empty", "net.pt2", b"", r"net\.pt2: torch\.export\.load cannot read it"),
    ("packed, cut", "net.safetensors", cut("quantized.safetensors"), r"net\.safetensors: cannot be read"),
    ("packed, begun", "net.safetensors", cut("quantized.safetensors", 0.02), r"net\.safetensors: cannot be read"),
    ("packed, empty", "net.safetensors", b"", r"net\.safetensors: cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "make", "line"), FILES, ids=[row[0] for row in FILES])
def test_a_file_that_is_not_right_is_one_line(
    name: str, file: str, make: Any, line: str, mrecg: Call, small: list[str], mine: Path
) -> None:
    if isinstance(make, bytes):
        Path(file).write_bytes(make)
    elif make is not None:
        make(Path(file))
    outcome = mrecg("evaluate", f"path={file}", TRUST, *words_of(small, model=True))
    assert outcome.code == 2, outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("mrecg: ") and re.search(line, last), last
    assert len(last) < 1200 and "Traceback" not in outcome.out + outcome.err
    assert "EP Error" not in outcome.out  # what ONNX Runtime would print by itself


def test_a_run_and_a_file_are_not_both_measured(mrecg: Call, mine: Path) -> None:
    outcome = mrecg("evaluate", f"run={mine}", f"path={mine}/quantized.onnx")
    assert outcome.code == 2 and "path: goes without run" in outcome.line


@pytest.mark.parametrize("name", ["quantized.onnx", "quantized.pt2"])
def test_images_of_another_size_are_one_line(name: str, mrecg: Call, mine: Path) -> None:
    outcome = mrecg("evaluate", f"path={mine / name}", TRUST, "data=digits", "data.evaluation_images=8")
    assert outcome.code == 2, outcome.err
    last = outcome.err.splitlines()[-1]
    assert "shape" in last and "32" in last and "a defect" not in last, last


@pytest.mark.slow
def test_a_file_that_gives_no_numbers_is_not_written(
    mrecg: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs is refused in one line, and the file from before stays as it was."""
    shutil.copytree(run, "copy")
    Path("copy/quantized.pt2").write_bytes(b"from before")
    honest = own.to_program

    def other(quantized: Any, **rest: Any) -> bytes:
        broken = torch.nn.Module.get_submodule(quantized.model, "head")
        with torch.no_grad():
            broken.layer.bias.add_(1.0)
        made = honest(quantized, **rest)
        with torch.no_grad():
            broken.layer.bias.sub_(1.0)
        return made

    monkeypatch.setattr(own, "to_program", other)
    outcome = mrecg("export", "copy", "format=pt2", "images=4", TRUST)
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith("mrecg: torch.export: image ") and "is not written" in last
    assert Path("copy/quantized.pt2").read_bytes() == b"from before"
    assert not Path("copy/export.json").exists()


def test_what_is_known_beforehand_is_refused_beforehand(mrecg: Call, run: Path) -> None:
    """Not after minutes of checks of another format."""
    shutil.copytree(run, "copy")
    Path("copy/quantized.safetensors").touch()
    before = {file: file.stat().st_mtime_ns for file in Path("copy").iterdir()}
    outcome = mrecg("export", "copy", "format=onnx,pt2,packed,onnx_int8", TRUST)
    assert outcome.code == 2
    assert "format=onnx_int8: " in outcome.line and "integer kernels take 8 bits" in outcome.line
    assert {file: file.stat().st_mtime_ns for file in Path("copy").iterdir()} == before


@pytest.mark.slow
def test_a_format_that_fails_keeps_no_other_from_being_written(
    mrecg: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, "copy")
    Path("copy/quantized.safetensors").unlink()
    shutil.copy(run / "quantized.safetensors", "copy/quantized.safetensors")

    def refuse(*_: Any, **__: Any) -> bytes:
        raise ExportError("format=pt2: torch cannot write tiny")

    words = ("export", "copy", "format=pt2,packed,pt2", "images=2", TRUST)
    with monkeypatch.context() as patched:
        patched.setattr(own, "to_program", refuse)
        outcome = mrecg(*words)
        assert outcome.code == 1
        assert outcome.err.splitlines()[-1] == "mrecg: pt2: format=pt2: torch cannot write tiny"
        assert re.search(r"^ *pt2 +not written", outcome.out, re.M), outcome.out
        assert "packed: copy/quantized.safetensors" in outcome.out
        record = json.loads(Path("copy/export.json").read_text())
        assert record.keys() == {"packed", "failed"}
        assert record["failed"] == {"pt2": "format=pt2: torch cannot write tiny"}
        patched.setattr(own, "dump", refuse)
        outcome = mrecg(*words)
        assert outcome.code == 1 and outcome.err.count("torch cannot write tiny") == 2
        record = json.loads(Path("copy/export.json").read_text())
        assert set(record["failed"]) == {"pt2", "packed"} and "packed" in record  # its file is still there
    outcome = mrecg(*words)
    assert outcome.code == 0, outcome.err
    assert json.loads(Path("copy/export.json").read_text()).keys() == {"packed", "pt2"}


def endless(file: Path) -> None:
    """A network with a loop that nothing ends."""
    value = helper.make_tensor_value_info
    kinds = [
        value("i", TensorProto.INT64, []),
        value("go", TensorProto.BOOL, []),
        value("v", TensorProto.FLOAT, None),
    ]
    same = [helper.make_node("Identity", [one], [f"{one}_out"]) for one in ("go", "v")]
    out = [value("go_out", TensorProto.BOOL, []), value("v_out", TensorProto.FLOAT, None)]
    body = helper.make_graph(same, "body", kinds, out)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Loop", ["", "true", "mean"], ["logits"], body=body),
    ]
    images, logits = (
        value(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", ["n", 3, 16, 16]), ("logits", ["n", 3]))
    )
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    graph = helper.make_graph(nodes, "endless", [images], [logits], [true])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]), file)


def test_a_loop_without_an_end_is_ended(
    mrecg: Call, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "PATIENCE", 0.5)
    endless(Path("endless.onnx"))
    outcome = mrecg("evaluate", "path=endless.onnx", *words_of(small, model=True))
    assert outcome.code == 2
    said = "endless.onnx: takes more than 0 seconds for 1 of the images; it may have a loop without an end"
    assert outcome.err.splitlines()[-1] == f"mrecg: {said}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"std": [0.2, 0.0, 0.2]}, r"std \[0\.2, 0\.0, 0\.2\] for 3 channels; each has to be above 0"),
        ({"std": [0.2, float("nan"), 0.2]}, r"std .*nan"),
        ({"std": [0.2, -1.0, 0.2]}, r"std .*-1\.0"),
        ({"std": [float("inf")] * 3}, r"std .*inf"),
        ({"mean": [float("nan")] * 3}, r"mean \[nan, nan, nan\] for 3 channels"),
        ({"mean": [0.5]}, r"mean \[0\.5\] for 3 channels"),
        ({"input_shape": [3, 0, 16]}, r"images of shape \(3, 0, 16\)"),
        ({"input_shape": [3, 1 << 20, 1 << 20]}, r"images of shape"),
        ({"resize": 1 << 20}, r"images resized to 1048576 pixels"),
    ],
)
def test_metadata_that_no_image_fits_are_refused(
    change: dict[str, Any], said: str, mine: Path, mrecg: Call, small: list[str]
) -> None:
    model = onnx.load(mine / "quantized.onnx")
    facts = json.loads(next(one.value for one in model.metadata_props if one.key == "mrecg"))
    facts["preprocessing"] |= change
    retold(mine / "quantized.onnx", Path("bad.onnx"), json.dumps(facts))
    outcome = mrecg("evaluate", "path=bad.onnx", *words_of(small))
    assert outcome.code == 2
    assert re.search(rf"^mrecg: bad\.onnx: its metadata are not right: {said}", outcome.line), outcome.line


@pytest.mark.slow
def test_files_claim_nothing_of_images_of_an_own_data_set(mrecg: Call) -> None:
    """Its tensors may be normalised in any way; what a file needs is said, and taken from the words."""
    items = ["data=dataset", "data.calibration_dataset=tiny_data.Squares", "data.calibration_images=4"]
    items += ["data.calibration_arguments={size:4,label:null,kind:float}", "data.batch_size=4"]
    items += ["data.evaluation_dataset=tiny_data.Squares", "data.evaluation_arguments={size:4,kind:float}"]
    model = ["model=target", "model.target=tiny_net.build", "model.arguments={classes:3}", "model.name=tiny"]
    words = ["granularity=block", "method=rtn", "logger=csv", "trainer.steps=1", "trainer.batch_size=4"]
    words += [
        "calibration.candidates=4",
        "calibration.bins=64",
        "model.input_shape=[3,16,16]",
        "hydra.run.dir=run",
    ]
    outcome = mrecg("quantize", *model, *words, *items)
    assert outcome.code == 0, outcome.err
    expected = top1(mrecg("evaluate", "run=run", "trainer.device=cpu", TRUST))
    assert mrecg("export", "run", "format=onnx,pt2,packed", "images=2", TRUST).code == 0
    Path("pictures").mkdir()
    for form in ("onnx", "pt2", "packed"):
        file = Path("run", format_named(form).file)
        opened, said = runners.open_file(file, allow_import=True)
        assert said is None and runners.image_shape(opened) == (3, 16, 16)
        outcome = mrecg("evaluate", f"path={file}", TRUST, "trainer.batch_size=4", *items)
        assert top1(outcome) == expected
        assert f"{file} does not say what its images are; tensors are taken as they are" in outcome.err
        outcome = mrecg(
            "evaluate", f"path={file}", TRUST, "data=image_folder", "data.calibration_path=pictures"
        )
        assert outcome.code == 2
        assert outcome.line == (
            f"mrecg: path: {file} does not say what its images are made into; give "
            "model.preprocessing.mean=[...] model.preprocessing.std=[...], or the model that it was made of by "
            "model=..."
        )


def test_python_has_the_same_function(exported: tuple[Path, str]) -> None:
    found = api.load(exported[0] / "quantized.safetensors", allow_import=True)
    assert isinstance(found, api.Quantized)
