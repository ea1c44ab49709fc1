"""Put a GPU's numbers into the documents: ``python -m benchmarks.gpu.pages``.

Each document has a block between two comments. What no file in docs/benchmarks/gpu holds is "not measured".
"""

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "benchmarks" / "gpu"
COMMAND = "python -m benchmarks.gpu --minutes 8 --out docs/benchmarks/gpu --images FOLDER"
BLOCKS = {"summary": ROOT / "README.md", "accuracy": ROOT / "docs" / "results" / "accuracy.md"}
"""Documents with a block, by its name; the page of benchmarks is written as a whole (`benchmarks.report`)."""
Found = Mapping[str, dict[str, Any]]


def found_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what the parts have written, by name; those without a file are missing."""
    files = {part.name: folder / f"{part.name}.json" for part in PARTS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def engine(found: Found) -> str:
    """The section of docs/results/benchmarks.md."""
    lines = [f"## GPU{_of(found)}", "", f"`{COMMAND}`", ""]
    lines += ["| part | outcome | |", "|---|---|---|"]
    for part in PARTS:
        content = found.get(part.name)
        status = content["status"] if content else "not measured"
        said = content.get("headline") or content.get("error", "") if content else ""
        if content and status == "out of time":
            said += f"; found by then: {', '.join(content['items'])}"
        lines.append(f"| {part.says} | {status} | {_cell(said)} |")
    items = found.get("speed", {}).get("items", {})
    if items:
        lines += ["", "| network, way | step ms | floor ms | step / floor | waits a chunk | memory MB |"]
        lines += ["|---|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {name} | {one['step_ms']:.1f} | {one['floor_ms']:.1f} | {one['ratio']:.2f} | "
            f"{'–' if one['waits'] is None else format(one['waits'], '.1f')} | {one['peak_mb']:.0f} |"
            for name, one in items.items()
        ]
    lines += _left_out(found)
    return "\n".join(lines) + "\n"


def accuracy(found: Found) -> str:
    """The table of docs/results/accuracy.md."""
    content = found.get("accuracy")
    if not content or not content["items"]:
        return (
            "EfficientNet-Lite0 on a GPU (W2A4, W3A3, W4A4; BRECQ and QDrop; 20,000 steps): not measured.\n"
        )
    steps = content.get("steps")
    lines = [f"EfficientNet-Lite0 at 160 pixels{_of(found)}, {steps} steps per unit; `{COMMAND}`.", ""]
    lines += ["| bits, method, granularity | top-1 % | FP % | images | seconds | merged groups |"]
    lines += ["|---|---:|---:|---:|---:|---|"]
    for name, one in content["items"].items():
        merged = ", ".join("+".join(group) for group in one["merged"]) or "–"
        lines.append(
            f"| {name} | {100 * one['top1']:.1f} | {100 * one['top1_fp']:.1f} | {one['images']} | "
            f"{one['seconds']:.0f} | {merged} |"
        )
    return "\n".join([*lines, *_left_out({"accuracy": content})]) + "\n"


def summary(found: Found) -> str:
    """The sentence of the README."""
    if not found:
        return _filled(
            "**On a GPU** nothing was measured yet: no number in these pages comes from one. "
            "`make gpu` checks kernels, bits, speed and accuracy on yours within minutes "
            "([docs/results/benchmarks.md](docs/results/benchmarks.md))."
        )
    lacking = [part.name for part in PARTS if found.get(part.name, {}).get("status") != "done"]
    seen = [part.name for part in PARTS if part.name not in lacking]
    rest = f"; not measured, or not as it should be: {', '.join(lacking)}" if lacking else ""
    return _filled(
        f"**On a GPU**{_of(found)} these parts of `make gpu` are done: {', '.join(seen) or 'none'}{rest}. "
        f"{_replayed(found)}[docs/results/benchmarks.md](docs/results/benchmarks.md) has the numbers."
    )


def _replayed(found: Found) -> str:
    """What CUDA graphs gain, of each network that was measured with them and without."""
    items = found.get("speed", {}).get("items", {})
    told = [
        f"{way.partition(':')[0]} {one['step_ms'] / graphs['step_ms']:.1f} times"
        for way, one in items.items()
        if way.endswith(": float32, fused") and (graphs := items.get(f"{way}, CUDA graphs"))
    ]
    return f"Replayed as CUDA graphs, steps are faster: {', '.join(told)}. " if told else ""


def _filled(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def with_block(text: str, name: str, content: str) -> str:
    """Replace the block of a document.

    Args:
        text: The document.
        name: Of the block.
        content: Markdown, with a line break at its end.

    Returns:
        The document with it.

    Raises:
        ValueError: It has no such block, or several.
    """
    pattern = re.compile(rf"(<!-- gpu: {name} -->\n).*?(<!-- end gpu -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"needs one block <!-- gpu: {name} --> ... <!-- end gpu -->")
    return pattern.sub(lambda block: f"{block[1]}{content}{block[2]}", text)


def pages(folder: Path = FOLDER) -> dict[Path, str]:
    """Give the documents as they should be."""
    found = found_in(folder)
    made = {"summary": summary(found), "accuracy": accuracy(found)}
    return {path: with_block(path.read_text(), name, made[name]) for name, path in BLOCKS.items()}


def _of(found: Found) -> str:
    names = {content["device"]["device_name"] for content in found.values() if "device" in content}
    return f" ({', '.join(sorted(names))})" if names else ""


def _left_out(found: Found) -> list[str]:
    rest: dict[str, list[str]] = {}
    for content in found.values():
        for name, why in content.get("left_out", {}).items():
            rest.setdefault(_cell(why), []).append(name)
    told = [f"- {why}: {'; '.join(names)}" for why, names in rest.items()]
    return ["", "Left out:", "", *told] if rest else []


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for file, text in pages().items():
        file.write_text(text)
