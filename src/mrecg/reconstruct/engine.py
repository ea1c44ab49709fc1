"""Reconstruct a network on its own device; `mrecg.reconstruct.helpers` has several."""

from torch import Tensor

from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.events import Listener, Silent
from mrecg.reconstruct.group_state import Finished
from mrecg.reconstruct.job import Job, Reconstruction
from mrecg.reconstruct.merge_trials import Trials
from mrecg.reconstruct.ranks import Shard
from mrecg.reconstruct.settings import Settings


def reconstruct(
    network: QuantizedNetwork,
    images: Tensor | Store,
    plan: Plan,
    settings: Settings,
    *,
    listener: Listener | None = None,
    trials: Trials | None = None,
    finished: Finished | None = None,
) -> Reconstruction:
    """Optimise a calibrated network, in place.

    Args:
        images: Calibration images of shape (N, C, H, W), on the network's device; the cache reads them where
            they are.
        plan: Which units are optimised jointly; made for the network's units.
        settings: Method, steps, cache and seed.
        listener: Is told of every chunk and unit.
        trials: Merges to be tried during the first pass, for a plan that merges nothing; they hold some
            images out, from which no group learns then.
        finished: Keeps the records of groups; those that it has already are not optimised again.

    Returns:
        Unit errors and curves. The same arguments give the same result, bit by bit, on the same machine; so
        they do wherever the cache lies, unless it is bfloat16.

    Raises:
        ConfigError: The cache has no place to be, or no room there; CUDA graphs are asked for and cannot be.
        DivergenceError: The loss of a group is not finite, or exploded.
    """
    first = images if isinstance(images, Store) else Store.of(images)
    job = Job.of(network, plan, settings, trials=trials)
    return job.run(network, first, Shard(first.images), listener=listener or Silent(), finished=finished)
