"""A unit as a run optimises it, and as it was before again after the measurement."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.networks import BATCH, PRECISION, Subject
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import passes_of
from mrecg.quant.modules import activations_of, layers_of
from mrecg.reconstruct.group_module import GroupReconstruction
from mrecg.reconstruct.group_task import GroupTask


@contextmanager
def learning(subject: Subject, *, steps: int, method: QDrop | None = None) -> Iterator[GroupReconstruction]:
    """Make the LightningModule that a run would make.

    Args:
        subject: The unit.
        steps: Optimisation steps that are planned.
        method: QDrop's hyper-parameters; None: the defaults.

    Yields:
        The module.
    """
    unit = subject.low
    before = copy.deepcopy(unit.state_dict())
    (task,) = passes_of(method or QDrop(), depthwise=subject.depthwise)
    scales = [quantizer.scale for quantizer in activations_of(unit)]
    for scale in scales:
        scale.requires_grad_(True)
    module = GroupReconstruction(
        [unit],
        GroupTask(
            pass_=task,
            cache=subject.cache,
            steps=steps,
            batch=BATCH,
            log_every=10,
            precision=PRECISION,
            graphs=False,
            seed=0,
        ),
        lambda *_: None,
    )
    try:
        yield module
    finally:
        module.harden()  # takes the soft weights back
        for scale in scales:
            scale.requires_grad_(False)
            scale.grad = None
        unit.load_state_dict(before)
        for layer in layers_of(unit):
            layer.refresh()
