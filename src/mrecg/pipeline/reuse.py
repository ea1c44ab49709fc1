"""What runs share: calibration, probes and groups that are through, by the hash of all that decides them.

Two runs that agree in model, images, bits and everything else of a stage get the very same bits from that
stage, so the second one takes them from a store. Code and versions belong to the hash: other code, other
results.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.data.sampling import add_tensor
from mrecg.pipeline.checkpoint import GroupStore, Stores
from mrecg.planner.plan import Probe
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.group_state import restore, state_of
from mrecg.system.checked_read import DAMAGED
from mrecg.system.content_store import ContentStore, Entry
from mrecg.system.devices import processor
from mrecg.system.machine import installed
from mrecg.system.tf32 import float32_flags

_CODE = (
    *("data/sampling.py", "graph/**/*.py", "quant/**/*.py"),
    "reconstruct/**/*.py",
)
"""Whatever these files say decides the numbers."""
_NO_MATTER = ("chunk", "log_every", "steps", "steps_per", "device", "threads")
"""Settings of the trainer that decide no number, or go into the hash in another way."""


class Reuse:
    """What a run has kept itself, and what runs share.

    Args:
        network: The network, not yet calibrated.
        images: Calibration images on its device.
        own: The run's own store, from which it resumes; None: it has none.
        say: Shows a line where another process is waited for.

    Attributes:
        saved: Seconds that other runs had spent on what this one took from them, by stage.
    """

    def __init__(
        self,
        config: RunConfig,
        network: QuantizedNetwork,
        images: Tensor,
        *,
        own: ContentStore | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.config, self._say = config, say
        self.saved: dict[str, float] = {"plan": 0.0, "calibrate": 0.0, "reconstruct": 0.0}
        folder, limit = config.shared.folder, config.shared.limit_mb
        self._own = own
        self._shared = None if folder is None else ContentStore(folder, limit)
        self._base = "" if own is None and self._shared is None else _base(config, network, images)

    @contextmanager
    def alone(self, what: str, **decisive: Any) -> Iterator[None]:
        """Let no other process compute the same meanwhile.

        Args:
            what: ``calibration`` or ``probe``.
            decisive: What decides it.
        """
        if self._shared is None:
            yield
            return

        def waiting(owner: str) -> None:
            if self._say is not None:
                self._say(f"{what}: {owner} is at the same one; waiting for it")

        with self._shared.lock(self._key(what, **decisive), waiting=waiting):
            yield

    def recall_calibration(self, network: QuantizedNetwork) -> bool:
        """Put a network into the state that an earlier calibration found.

        Returns:
            Whether there was one.
        """
        entry = self._get(self._key("calibration"), "calibrate")
        if entry is None:
            return False
        try:
            restore(network.low, entry.tensors)
        except ValueError:
            return False
        return True

    def keep_calibration(self, network: QuantizedNetwork, seconds: float) -> None:
        """Keep what a calibration found.

        Args:
            network: The calibrated network.
            seconds: What it took.
        """
        self._put(self._key("calibration"), Entry({"seconds": seconds}, state_of(network.low)))

    def recall_probe(self, *, compare: bool = False, **decisive: Any) -> Probe | None:
        """Find the probe of an earlier run.

        Args:
            compare: Whether it is only compared with: nothing is made of it, so its time does not count.
            decisive: What decides it besides the run's own settings.

        Returns:
            The probe; None where there is none.
        """
        key = self._key("probe", **decisive)
        entry = Stores(self._own, self._shared).get(key) if compare else self._get(key, "plan")
        if entry is None:
            return None
        try:
            return _probe(entry.facts)
        except DAMAGED:  # others write to the store, so it is not believed
            return None

    def keep_probe(self, probe: Probe, seconds: float, **decisive: Any) -> None:
        """Keep a probe.

        Args:
            seconds: What it took.
            decisive: What decides it besides the run's own settings.
        """
        facts = {
            "seconds": seconds,
            "steps": probe.steps,
            "losses": probe.losses,
            "errors": probe.errors,
            "reach": probe.reach,
            # JSON has no NaN.
            "pairs": probe.pairs and [None if math.isnan(value) else value for value in probe.pairs],
        }
        self._put(self._key("probe", **decisive), Entry(facts))

    def groups(self, **decisive: Any) -> "GroupStore | None":
        """Open the records of groups.

        Args:
            decisive: What decides them besides the run's own settings and the groups before each.

        Returns:
            The records; None where nothing is kept.
        """
        if not self._base:
            return None
        shared = self._shared if self.config.reuse == "prefix" else None
        return GroupStore(
            Stores(self._own, shared),
            self._key("groups", **decisive),
            every_steps=self.config.checkpoint.every_steps,
        )

    def _get(self, key: str, stage: str) -> Entry | None:
        entry = Stores(self._own, self._shared).get(key)
        if entry is not None and entry.facts.get("reused"):
            try:
                self.saved[stage] += float(entry.facts["seconds"])
            except DAMAGED:
                return None
            if self._own is not None:
                self._own.put(key, entry)
        return entry

    def _put(self, key: str, entry: Entry) -> None:
        Stores(self._own, self._shared).put(key, entry)

    def _key(self, what: str, **decisive: Any) -> str:
        config = self.config
        values: dict[str, Any] = {"what": what, "base": self._base, **decisive}
        if what != "calibration":
            trainer = {key: value for key, value in plain(config.trainer).items() if key not in _NO_MATTER}
            values |= {
                "steps": config.trainer.steps,
                "log_every": config.trainer.log_every,
                "trainer": trainer,
                "lossless_cache": config.cache.dtype != "bfloat16",
                "on_divergence": config.on_divergence,
                "precision": config.precision,
                "seed": config.seed,
                **decisive,
            }
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return f"{what}-{digest[:32]}"


def _probe(facts: dict[str, Any]) -> Probe:
    reach, pairs = facts["reach"], facts["pairs"]
    return Probe(
        losses=tuple(map(float, facts["losses"])),
        errors=tuple(map(float, facts["errors"])),
        steps=int(facts["steps"]),
        reach=None if reach is None else tuple(map(float, reach)),
        pairs=None if pairs is None else tuple(math.nan if v is None else float(v) for v in pairs),
    )


def _base(config: RunConfig, network: QuantizedNetwork, images: Tensor) -> str:
    """Hash what decides the calibration: code, machine, network, images, bits."""
    values = plain(config)
    decisive = {
        "bits": values["bits"],
        "widths": [[*network.policy.layers.items()], [*network.policy.activations.items()]],
        "calibration": values["calibration"],
        "batch": config.data.batch_size,
        "device": images.device.type,
        "device_name": _device_name(images.device),
        "threads": torch.get_num_threads(),
        "kernels": config.trainer.kernels,
        "float32": float32_flags(),
        "versions": [installed(name) for name in ("mrecg", "torch", "numba", "numpy", "lightning")],
        "units": [[unit.input, *unit.nodes] for unit in network.units],
        "graph": network.traced.code,
        "dtype": str(images.dtype),
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    here = Path(__file__).parents[1]
    for file in code_files(here):
        digest.update(file.read_bytes())
    for tensor in [*network.traced.state_dict().values(), images]:
        add_tensor(digest, tensor)
    return digest.hexdigest()


def code_files(here: Path) -> Iterator[Path]:
    """List the files whose code decides results that are shared.

    Args:
        here: The folder of the package.

    Yields:
        The files, in a fixed order.

    Raises:
        LookupError: A name on the list matches nothing: the code that it stood for would no longer count,
            and other code's results would be taken for its own.
    """
    for pattern in _CODE:
        found = sorted(here.glob(pattern))
        if not found:
            raise LookupError(
                f"{pattern} in {here}: there is no such file; mend the list in pipeline/reuse.py"
            )
        yield from found


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
