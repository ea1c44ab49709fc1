"""What becomes of a planned merge: held-out images judge it during the run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What held-out images said of a planned group, which was optimised in both ways from the same prefix.

    Attributes:
        group: The names of the group's units.
        alone: How far the network's predictions are off if the units are optimised one by one and the rest
            stays in full precision; None if that is not finite.
        merged: How far they are off if the units are optimised jointly; None if that is not finite, or if
            the loss diverged.
        standard_error: The standard error of the difference of the two, which are paired image by image.
        kept: Whether the merge was kept, which is so only if ``merged`` is the smaller one.
        measure: The unit of the two: ``kl`` (nats), or ``relative_error`` if the outputs are no logits.
        images: The number of held-out calibration images that it was measured on.
    """

    group: tuple[str, ...]
    alone: float | None
    merged: float | None
    standard_error: float | None
    kept: bool
    measure: str = "kl"
    images: int = 0
