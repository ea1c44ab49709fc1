"""Decisions of the full-precision and of the quantized network, image by image, and what follows."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrecg.errors import DataError
from mrecg.runs.index import Read
from mrecg.runs.layout import DECISION_COLUMNS, DECISIONS, IMAGES
from mrecg.runs.records import Run
from mrecg.system.checked_read import DAMAGED, read_regular

Decisions = NDArray[np.int32]
"""One row an evaluation image: label, decision in full precision, decision after quantization."""

CLASSES, CONFUSIONS = 40, 20
"""Classes and confusions that are listed, at most: those that changed most."""


def read_decisions(run: Run, *, read: Read = read_regular) -> Decisions | None:
    """Read decisions.csv of a run.

    Args:
        read: How its files are read.

    Returns:
        Shape (N, 3); None where the run kept none.

    Raises:
        DataError: The file is broken, or about other images than the summary.
    """
    file = run.path / DECISIONS
    try:
        lines = read(file).decode("utf-8").split()
        if lines[:1] != [",".join(DECISION_COLUMNS)]:
            raise ValueError("its columns are not label, fp and quantized")
        rows = _rows(lines[1:])
        if len(rows) != run.evaluation_images:
            raise ValueError(f"it has {len(rows)} images, summary.json {run.evaluation_images}")
    except (FileNotFoundError, NotADirectoryError):  # the latter of a run in a file of numbers
        return None
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: {error}; repeat the run, or remove the file") from error
    return rows


def _rows(lines: Sequence[str]) -> Decisions:
    if not lines:
        return np.empty((0, 3), dtype=np.int32)
    rows: Decisions = np.loadtxt(lines, delimiter=",", dtype=np.int32, comments=None, ndmin=2)
    if rows.shape[1] != 3:
        raise ValueError(f"it has {rows.shape[1]} columns, not 3")
    return rows


def standard_error(fraction: float, images: int) -> float:
    """Binomial standard error of an accuracy.

    Args:
        fraction: Of 1.
        images: Behind it, at least 1.

    Returns:
        Fraction of 1.
    """
    return math.sqrt(fraction * (1 - fraction) / images)


def change(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare two sets of decisions on the same images.

    Args:
        before: Whether each image was right, shape (N,), N at least 1.
        after: Likewise.

    Returns:
        Difference of the accuracies, its paired standard error (that of the mean of the N differences), N.
    """
    difference = after.astype(np.int8) - before.astype(np.int8)
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return {
        "change": float(difference.mean()),
        "standard_error": error,
        "images": len(difference),
        "paired": True,
    }


def unpaired(before: float, after: float, images: int) -> dict[str, Any]:
    """Compare two accuracies of which only the fractions are known.

    Args:
        before: Fraction of 1.
        after: Likewise.
        images: Behind each.

    Returns:
        Like `change`, with the standard error of independent images, which is larger than the paired one.
    """
    error = math.hypot(standard_error(before, images), standard_error(after, images))
    return {"change": after - before, "standard_error": error, "images": images, "paired": False}


def between(
    before: Run, after: Run, decided: Callable[[Run], Decisions | None] = read_decisions
) -> dict[str, Any] | None:
    """Compare the accuracies of two runs.

    Args:
        decided: Gives the decisions of a run; None where it kept none.

    Returns:
        Like `change`; like `unpaired` where the decisions are not known image by image; None where a run was
        not evaluated, or the two on other images: another set, another number, or other labels.

    Raises:
        DataError: The decisions of a run are broken.
    """
    if not before.quantized or not after.quantized or before.evaluated_on != after.evaluated_on:
        return None
    theirs, mine = decided(before), decided(after)
    if theirs is not None and mine is not None and len(theirs) == len(mine) > 0:
        alike = bool((theirs[:, 0] == mine[:, 0]).all())
        return change(right(theirs, 2), right(mine, 2)) if alike else None
    images = before.evaluation_images
    return unpaired(before.quantized.top1, after.quantized.top1, images) if images else None


def right(decisions: Decisions, column: int) -> NDArray[np.bool_]:
    """Tell which images were classified correctly.

    Args:
        column: 1 in full precision, 2 after quantization.

    Returns:
        Shape (N,).
    """
    found: NDArray[np.bool_] = decisions[:, column] == decisions[:, 0]
    return found


def flips(decisions: Decisions, names: Mapping[int, str]) -> dict[str, Any]:
    """Count where the quantized network decides otherwise.

    Args:
        names: Of classes by label; a label that is missing is named by its number.

    Returns:
        The key ``decisions`` of a run in the page's document.
    """
    label, full, low = decisions.T
    right_full, right_low = right(decisions, 1), right(decisions, 2)
    numbers, place, images = np.unique(label, return_inverse=True, return_counts=True)
    before, after = (
        np.bincount(place, weights=correct, minlength=len(numbers)).astype(int)
        for correct in (right_full, right_low)
    )
    classes = list(
        zip(*(v.tolist() for v in (abs(after - before), images, numbers, before, after)), strict=True)
    )
    changed = sorted((c for c in classes if c[0]), key=lambda c: (-c[0], -c[1], c[2]))[:CLASSES]
    moved = Counter(zip(full[full != low].tolist(), low[full != low].tolist(), strict=True))

    def name(number: int) -> str:
        return names.get(number, str(number))

    return {
        "images": len(label),
        "both_right": int((right_full & right_low).sum()),
        "only_fp_right": int((right_full & ~right_low).sum()),
        "only_quantized_right": int((~right_full & right_low).sum()),
        "both_wrong_same": int((~right_full & ~right_low & (full == low)).sum()),
        "both_wrong_differ": int((~right_full & ~right_low & (full != low)).sum()),
        "class_count": len(classes),
        "classes_changed": sum(1 for c in classes if c[0]),
        "classes": [
            {"name": name(number), "images": images, "fp_right": before, "quantized_right": after}
            for _, images, number, before, after in changed
        ],
        "confusions": [
            {"from": name(a), "to": name(b), "images": count}
            for (a, b), count in sorted(moved.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]
        ],
    }


def class_folders(run: Run, *, read: Read = read_regular) -> tuple[str, ...]:
    """Read in which folder each evaluation image was.

    Args:
        run: The run; its images.json has the images' names.
        read: How its files are read.

    Returns:
        One an image, in order; empty where the names are not known.
    """
    try:
        images = json.loads(read(run.path / IMAGES).decode("utf-8"))
        return tuple(str(name).rpartition("/")[0] for name in images["evaluation"]["names"])
    except (OSError, *DAMAGED):
        return ()  # without names a class is a number


def class_names(decisions: Decisions, folders: Sequence[str]) -> dict[int, str]:
    """Name the classes by the folders of their images.

    Args:
        decisions: Of a run.
        folders: See `class_folders`.

    Returns:
        Names by label; none where the images are not sorted by class into folders.
    """
    found: dict[int, set[str]] = {}
    if len(folders) == len(decisions):
        for label, folder in zip(decisions[:, 0].tolist(), folders, strict=True):
            found.setdefault(label, set()).add(folder)
    return {label: names.pop() for label, names in found.items() if len(names) == 1 and "" not in names}
