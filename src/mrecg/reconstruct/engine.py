"""Reconstruct a network: on its own device, or with others."""

from torch import Tensor

from mrecg.errors import ConfigError
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.events import Listener, Silent
from mrecg.reconstruct.group_state import Finished
from mrecg.reconstruct.helpers import Team
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
    team: Team | None = None,
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
        team: The devices that share the images; None: the network's alone.

    Returns:
        Unit errors and curves. The same arguments give the same result, bit by bit, on the same machine; so
        they do wherever the cache lies, unless it is bfloat16.

    Raises:
        ConfigError: The cache has no place to be, or no room there; CUDA graphs are asked for and cannot be.
        DeviceError: One of several processes has ended.
        DivergenceError: The loss of a group is not finite, or exploded.
    """
    if settings.trainer.cuda_graphs and images.device.type != "cuda":
        raise ConfigError(
            f"trainer.cuda_graphs: needs a GPU, the network is on {images.device}; set it to false"
        )
    listener = listener or Silent()
    first = images if isinstance(images, Store) else Store.of(images)
    depthwise = any(layer.kind == "depthwise" for unit in network.units for layer in unit.facts.layers)
    job = Job(plan=plan, passes=settings.passes(depthwise=depthwise), settings=settings, trials=trials)
    if team is not None:
        return team.run(job, network, first, listener=listener, finished=finished)
    return job.run(network, first, Shard(first.images), listener=listener, finished=finished)
