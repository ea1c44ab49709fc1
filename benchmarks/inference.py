"""Exported files on the CPU: latency, size, accuracy and agreement of finished runs that were exported.

``python -m benchmarks.inference RUN... --json FILE`` measures, ``--write docs/how-to/export.md`` puts
the tables there. The times are of one image and one thread; in every round each file has its turn.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.clock import interleaved, spread
from benchmarks.machine import describe, write
from mrecg.formats.program import open_program
from mrecg.formats.runners import OnnxRunner
from mrecg.pipeline.result import Result, load

BEGIN, END = "<!-- numbers -->", "<!-- end of numbers -->"
PARTS = {
    "fp_torch": "FP32 torch",
    "fp_onnx": "FP32 ORT",
    "fake": "fake-quantized",
    "onnx": "onnx",
    "onnx_int8": "onnx_int8",
    "pt2": "pt2",
}
"""Parts that are timed, with their names in the table."""
WARMUP = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure runs, or write the tables of what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="finished runs, exported before")
    parser.add_argument("--rounds", type=int, default=30, help="rounds that count")
    parser.add_argument("--json", type=Path, required=True, help="the numbers: written with RUN, else read")
    parser.add_argument("--write", type=Path, help="a page whose tables are replaced")
    parsed = parser.parse_args(arguments)
    if parsed.runs:
        torch.set_num_threads(1)
        rows = [measure(run, rounds=parsed.rounds) for run in parsed.runs]
        write({"machine": describe(torch.device("cpu")), "rounds": parsed.rounds, "runs": rows}, parsed.json)
    content = json.loads(parsed.json.read_text())
    text = "\n".join(lines(content))
    if parsed.write is None:
        print(text)  # noqa: T201
    else:
        page = parsed.write.read_text()
        head, tail = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
        parsed.write.write_text(f"{head}\n{text}\n{tail}")


@torch.no_grad()
def measure(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Time what a run has exported.

    Args:
        folder: The run folder; what was exported is in its export.json.
        rounds: Rounds that count.

    Returns:
        Medians in ms with their spread, sizes, accuracy, agreement.
    """
    result = load(folder)
    exported = json.loads((folder / "export.json").read_text())
    exported.pop("failed", None)  # formats that could not be written
    assert result.preprocessing is not None
    x = torch.randn(1, *result.preprocessing.input_shape).contiguous(memory_format=torch.channels_last)
    times = interleaved(
        dict(_parts(result, folder, exported, x)), rounds=rounds, warmup=WARMUP, device=x.device
    )
    summary = result.summary
    return {
        "model": summary["model"],
        "bits": summary["bits"],
        "method": summary["method"],
        "input_shape": list(x.shape[1:]),
        "fp_top1": _fp_top1(result, exported["onnx"]["agreements"][0]["labels"]),
        "ms": {name: 1000 * statistics.median(values) for name, values in times.items()},
        "spread": {name: spread(values) for name, values in times.items()},
        "bytes": {"fp": exported["packed"]["fp"], "by_bits": exported["packed"]["by_bits"]}
        | {form: one["bytes"] for form, one in exported.items()},
        "agreement": {
            form: [
                {key: value for key, value in part.items() if key != "ties"} | _ties(part)
                for part in one["agreements"]
            ]
            for form, one in exported.items()
        },
    }


def _fp_top1(result: Result, images: int) -> float:
    """Accuracy of the full-precision network on the images that the files saw, the first ones."""
    assert result.decisions is not None
    rows = result.decisions[:images]
    return float((rows[:, 1] == rows[:, 0]).double().mean())


def _ties(agreement: Mapping[str, Any]) -> dict[str, Any]:
    ties = agreement["ties"]
    return {"ties": len(ties), "farthest": max((tie["distance"] for tie in ties), default=0.0)}


def _parts(
    result: Result, folder: Path, exported: Mapping[str, Any], x: Tensor
) -> Iterator[tuple[str, Callable[[], object]]]:
    full = result.network.traced.to(
        memory_format=torch.channels_last
    )  # its weights do not matter for the time
    yield "fp_torch", lambda: full(x)
    fp = OnnxRunner(_onnx_of(full, x), "the full-precision network")
    yield "fp_onnx", lambda: fp(x)
    yield "fake", lambda: result.model(x)
    for form in ("onnx", "onnx_int8"):
        if form in exported:
            runner = OnnxRunner((folder / Path(exported[form]["file"]).name).read_bytes(), form)
            yield form, lambda runner=runner: runner(x)
    if "pt2" in exported:
        program = open_program((folder / Path(exported["pt2"]["file"]).name).read_bytes())[0].module()
        yield "pt2", lambda: program(x)


def _onnx_of(model: nn.Module, x: Tensor) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (x,), dynamo=True, opset_version=18, verbose=False)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Write the tables of what was measured.

    Args:
        content: What `main` has written.

    Yields:
        Lines of Markdown.
    """
    machine, runs = content["machine"], content["runs"]
    yield ""
    columns = (
        "network",
        "bits",
        "FP",
        "PyTorch",
        "ONNX Runtime",
        "flips",
        "images with a tie",
        "farthest, steps",
    )
    yield f"| {' | '.join(columns)} | torch.export | flips |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for run in runs:
        onnx, pt2 = run["agreement"]["onnx"][-1], run["agreement"]["pt2"][0]
        yield (
            f"| {_head(run)} | {run['fp_top1']:.2%} | {_top1(onnx, 0)} | {_top1(onnx, 1)} | "
            f"{onnx['flips']} of {onnx['images']} | "
            f"{onnx['images'] - onnx['same']} | {onnx['farthest']:.1e} | "
            f"{_top1(pt2, 1)} | {pt2['flips']} of {pt2['images']} |"
        )
    yield ""
    yield "| network | bits | FP32, kB | by its bits, kB | packed | ONNX | ONNX, INT8 kernels | pt2 |"
    yield "|---|---|---|---|---|---|---|---|"
    for run in runs:
        size = run["bytes"]
        forms = ("fp", "by_bits", "packed", "onnx", "onnx_int8", "pt2")
        cells = [f"{size[form] / 1000:,.0f}" if form in size else "" for form in forms]
        cells[2] += f" ({size['packed'] / size['by_bits']:.3f})"
        yield f"| {_head(run)} | {' | '.join(cells)} |"
    yield ""
    yield f"| network | bits | {' | '.join(f'{name}, ms' for name in PARTS.values())} |"
    yield f"|---|---|{'---|' * len(PARTS)}"
    for run in runs:
        times = [f"{run['ms'][part]:.2f}" if part in run["ms"] else "" for part in PARTS]
        yield f"| {_head(run)} | {' | '.join(times)} |"
    worst = max(value for run in runs for value in run["spread"].values())
    yield ""
    yield (
        f"Medians of {content['rounds']} rounds in turn, one image, one thread, {machine['device_name']}, "
        f"torch {machine['torch']}; the middle half of the rounds spreads over at most "
        f"{worst:.0%} of the median."
    )
    yield ""


def _head(run: Mapping[str, Any]) -> str:
    pixels = run["input_shape"][1]
    return f"{run['model']}, {pixels} px | W{run['bits']['weight']}A{run['bits']['activation']}"


def _top1(agreement: Mapping[str, Any], place: int) -> str:
    return f"{agreement['correct'][place] / agreement['labels']:.2%}" if agreement["labels"] else "–"


if __name__ == "__main__":
    main()
