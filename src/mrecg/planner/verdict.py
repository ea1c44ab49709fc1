"""What becomes of a planned merge: held-out images judge it during the run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What held-out images said of a planned group, which was optimised in both ways from the same prefix.

    Attributes:
        group: Names of its units.
        alone: How far the network's predictions are off after its units, optimised one by one, when the
            full-precision rest follows; None: not finite.
        merged: The same after the group, optimised jointly; None: not finite, or its loss diverged.
        standard_error: Of the difference of the two, which are paired image by image.
        kept: Whether the merge was kept: only where ``merged`` is the smaller one.
        measure: "kl" (Kullback-Leibler divergence, nats), or "relative_error" of what is no logits.
        images: Calibration images that it was measured on.
    """

    group: tuple[str, ...]
    alone: float | None
    merged: float | None
    standard_error: float | None
    kept: bool
    measure: str = "kl"
    images: int = 0
