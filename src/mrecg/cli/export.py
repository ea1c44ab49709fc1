"""The command ``export``: a saved run as files that run elsewhere, each checked against the run's network."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrecg.cli.words import key_words
from mrecg.errors import ConfigError, MrecgError, one_of

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from mrecg.formats.write import Exported

    Batch = tuple[Tensor, Tensor | None]

KEYS = {
    "format": "onnx, onnx_int8 (for integer kernels), pt2 (torch.export) or packed; several with commas",
    "opset": "ONNX opset, 18 to 25; default: the lowest with types as narrow as the weights",
    "images": "number of images that the file is checked on; default: 256",
    "out": "the file; default: quantized.onnx or quantized.pt2 in RUN",
    "allow_import": "true (or --allow-import): the class that RUN names may be imported, which runs code",
}
OTHER_IMAGES = "other images than the run's own to check on, as for mrecg evaluate"
FAILED = "failed"
"""Key in export.json: by format, why it was not written when it was last tried."""
HELP = """usage: mrecg export RUN format=FORMAT [KEY=VALUE] [data=... data.KEY=VALUE]

Write a saved run as a file that needs no mrecg, after the file was run and compared with the run's own
network. A file that differs where no value lies between two integers of its grid is not written. Several
formats are written one by one: one that fails does not stop the others, and the exit code is 1 then.

Keys:
{keys}
  data=...       {other}

Examples:
  mrecg export outputs/2026-01-31/12-00-00-mine format=onnx
  mrecg export outputs/2026-01-31/12-00-00-mine format=onnx,pt2 images=1000
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: The run folder, and ``KEY=VALUE`` words.

    Returns:
        The exit code: 1 where one of several formats could not be written.

    Raises:
        ConfigError: A key or value is wrong, or a package is missing.
        CheckpointError: The run cannot be loaded.
        ExportError: The network cannot be written, or the file does not do what the network does.
    """
    if any(word in ("-h", "--help") for word in arguments):
        keys = "\n".join(f"  {key + '=':<14} {text}" for key, text in KEYS.items())
        sys.stdout.write(HELP.format(keys=keys, other=OTHER_IMAGES))
        return 0
    folder, values, words = _parsed(
        [word.removeprefix("run=") for word in key_words(arguments, folder=False)]
    )
    from mrecg.pipeline.result import write_json
    from mrecg.runs.layout import EXPORTS
    from mrecg.track.terminal import results_console

    forms = _forms(values)
    kept = folder / EXPORTS
    written: list[Exported] = []
    failed: dict[str, Exception] = {}
    for form, outcome in _outcomes(folder, forms, values, words):
        if isinstance(outcome, Exception):
            failed[form] = outcome
        else:
            written.append(outcome)
        if len(forms) > 1 or written:
            write_json(kept, _record(_earlier(kept), form, outcome))
    console = results_console()
    for table in tables(written, list(failed)) if written else []:
        console.print(table)
    for exported in written:
        console.print(f"{exported.format}: {exported.file}", soft_wrap=True, highlight=False, markup=False)
    told = list(failed.items()) if written else list(failed.items())[:-1]
    for form, error in told:
        _say(form, error)
    if failed and not written:
        raise list(failed.values())[-1]
    return 1 if failed else 0


def _forms(values: Mapping[str, str]) -> list[str]:
    """The formats asked for, with which the other keys have to go."""
    from mrecg.formats.registry import format_named
    from mrecg.registry import FORMATS

    forms = list(dict.fromkeys(values["format"].split(",")))
    for form in forms:
        if form not in FORMATS:
            raise one_of("format", form, FORMATS.names())
    if "out" in values and len(forms) > 1:
        raise ConfigError("out: names one file; give one format, or leave it out")
    if "out" in values and not Path(values["out"]).parent.is_dir():
        raise ConfigError(f"out: {Path(values['out']).parent} is not a folder; create it first")
    if "opset" in values and not any(format_named(form).opset for form in forms):
        raise ConfigError(f"opset: goes with format=onnx, not with {values['format']}")
    return forms


def _say(form: str, error: Exception) -> None:
    sys.stderr.write(f"mrecg: {form}: {' '.join(str(error).split())}\n")


def _record(earlier: Mapping[str, Any], form: str, outcome: "Exported | Exception") -> dict[str, Any]:
    """Add one format to the content of export.json: as written, or under ``failed`` with the reason."""
    record = dict(earlier)
    before = record.pop(FAILED, None)
    failed = {key: said for key, said in before.items() if key != form} if isinstance(before, dict) else {}
    if isinstance(outcome, Exception):
        failed[form] = str(outcome)
    else:
        record[form] = outcome.as_dict()
    return {**record, **({FAILED: failed} if failed else {})}


def _shown(batches: "Iterable[Batch]", advance: Callable[[int], None]) -> "Iterator[Batch]":
    """Show how far batches are: each counts when the next one is asked for."""
    for batch in batches:
        yield batch
        advance(len(batch[0]))


def _outcomes(
    folder: Path, forms: Sequence[str], values: Mapping[str, str], words: Sequence[str]
) -> "Iterator[tuple[str, Exported | Exception]]":
    """Write the files, one format after the other; one that fails does not keep the others from it."""
    from mrecg.config.consent import Consent
    from mrecg.config.hydra_compose import check
    from mrecg.formats.registry import format_named
    from mrecg.formats.write import IMAGES, export, images_of, refuse
    from mrecg.pipeline.result import load
    from mrecg.track.terminal import Screen

    count = _number("images", values.get("images", str(IMAGES)))
    opset = _number("opset", values["opset"]) if "opset" in values else None
    opsets = {form: opset if format_named(form).opset else None for form in forms}
    consent = Consent(str(folder), values.get("allow_import") == "true")
    result = load(folder, allow_import=consent.given)
    if words:
        # No step is taken here, so one need not fit the images.
        config = check([*words, "trainer.batch_size=1"]).configs[0]
    else:
        config = result.config
        consent.to(None, config.data)  # a data set by import path, which was not typed
    if result.preprocessing is None:
        raise ConfigError(f"{folder}: its model was passed from Python; call mrecg.export with it")
    for form in forms:
        refuse(result, form, opsets[form])
    screen = Screen(f"export: {result.config.name}")
    for form in forms:
        try:
            with screen.stage(f"check {form}", count) as advance:
                exported = export(
                    result,
                    result.config,
                    Path(values["out"]) if "out" in values else folder / format_named(form).file,
                    form=form,
                    batches=_shown(images_of(config, result.preprocessing, count), advance),
                    opset=opsets[form],
                    named="out" in values,
                )
        except (MrecgError, OSError) as error:
            yield form, error
        else:
            yield form, exported


def _parsed(arguments: Sequence[str]) -> tuple[Path, dict[str, str], list[str]]:
    named = {word for word in arguments if word.partition("=")[0] in KEYS}
    folders = [word for word in arguments if "=" not in word or (word not in named and Path(word).is_dir())]
    if len(folders) != 1:
        raise ConfigError("export: requires one run folder, for example mrecg export RUN format=onnx")
    values, words = {}, []
    for word in arguments:
        key, _, value = word.partition("=")
        if word in folders:
            continue
        if key in KEYS:
            values[key] = value
        elif key.split(".")[0] == "data":
            words.append(word)
        else:
            raise one_of("export", key, [*KEYS, "data"])
    if words and not any(word.startswith("data=") for word in words):
        key = words[0].partition("=")[0]
        raise ConfigError(f"{key}: goes with data=..., for other images than the run's own")
    if "format" not in values:
        raise ConfigError("format: is missing; choose from onnx, onnx_int8, pt2, packed")
    if values.get("allow_import") not in (None, "true", "false"):
        raise one_of("allow_import", values["allow_import"], ["true", "false"])
    return Path(folders[0]), values, words


def _number(key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise ConfigError(f"{key}: {text!r} is not right: requires a whole number of at least 1")
    return int(text)


def _earlier(file: Path) -> dict[str, Any]:
    from mrecg.system.checked_read import json_object, read_regular

    try:
        return json_object(read_regular(file)) if file.is_file() else {}
    except ValueError:
        return {}  # a record for people; it is written again


def tables(made: Sequence["Exported"], failed: Sequence[str] = ()) -> list["Table"]:
    """Lay out what was written and how well it agrees.

    Args:
        failed: Other formats, which were not.

    Returns:
        Tables for the terminal.
    """
    from rich.table import Table

    from mrecg.report.tables import percent

    agreement = Table("run by", title="Agreement with the run's network", title_justify="left", box=None)
    for column in ("images", "same", "flips", "largest", "mean", "top-1", "of the file"):
        agreement.add_column(column, justify="right")
    ties = Table(
        "run by", title="Images that differ: a value between two integers", title_justify="left", box=None
    )
    for column in ("images", "seen", "farthest, steps", "most often at"):
        ties.add_column(column, justify="right" if column != "most often at" else "left")
    size = Table("format", title="Size, bytes", title_justify="left", box=None)
    for column in ("of the file", "by its bits", "float32"):
        size.add_column(column, justify="right")
    size.add_column("weights as stored")
    for exported in made:
        for one in exported.agreements:
            top1 = [percent(right / one.labels if one.labels else None) for right in one.correct]
            counts = (f"{one.images:,}", f"{one.same:,}", str(one.flips))
            agreement.add_row(one.what, *counts, f"{one.largest:.1e}", f"{one.mean:.1e}", *top1)
            if one.ties:
                (grid, count), *_ = Counter(tie.grid for tie in one.ties).most_common(1)
                place = f"{grid.removeprefix('activation_quantizers.')} ({count})"
                farthest = f"{max(tie.distance for tie in one.ties):.1e}"
                ties.add_row(one.what, f"{one.images - one.same:,}", str(len(one.ties)), farthest, place)
        stored = "\n".join(
            f"{sum(row.values()):,} of {bits} bits in {'/'.join(row)}"
            for bits, row in exported.containers.items()
        )
        opset = "" if exported.opset is None else f", opset {exported.opset}"
        numbers = [f"{count:,}" for count in (exported.bytes, exported.by_bits, exported.fp)]
        size.add_row(f"{exported.format}{opset}", *numbers, stored)
    for form in failed:
        size.add_row(form, "not written", "", "", "")
    return [agreement, *([ties] if ties.row_count else []), size]
