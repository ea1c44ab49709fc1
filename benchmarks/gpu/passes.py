"""What a run does besides optimising: ranges, the cache's walk, memory."""

from benchmarks.gpu.options import Options
from benchmarks.gpu.record import Record
from benchmarks.machine import as_in_a_run
from benchmarks.networks import PIXELS, network_of
from benchmarks.passes import memory, passes


def measure(record: Record, options: Options) -> None:
    """Measure one network after the other, as `benchmarks.engine` does.

    Args:
        record: Takes what is found.
        options: The device.
    """
    names = ["embedded"] if options.rehearsal else list(PIXELS)
    cost = 0.0
    for name in names:
        if not record.has_time(name, cost):
            continue
        before = record.left
        with as_in_a_run():
            network, images = network_of(name, options.device)
            record.put(
                name, memory(network, images) | passes(network, images, rounds=1 if options.rehearsal else 5)
            )
        cost = max(cost, before - record.left)
    items = record.content["items"]
    said = [
        f"{name}: ranges {found['calibration_passes']:.1f} passes, cache {found['prefix_passes']:.1f}"
        for name, found in items.items()
    ]
    record.end("; ".join(said), holds=bool(items))
