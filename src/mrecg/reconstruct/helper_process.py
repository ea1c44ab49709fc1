"""A helper of a reconstruction on several devices: a process with a device and a part of the images."""

import io
import os
import signal
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from mrecg.config.schema import Precision
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.computing import computing
from mrecg.reconstruct.events import Silent
from mrecg.reconstruct.finishing import FinishJob
from mrecg.reconstruct.job import Job
from mrecg.reconstruct.ranks import Ranks, Shard

HOST = "127.0.0.1"
TIMEOUT = timedelta(days=30)
"""Helpers wait while rank 0 calibrates; a process that ends is noticed at once."""


class Call(NamedTuple):
    """What a helper gets to know before a job; the images come apart."""

    job: Job | FinishJob
    state: dict[str, Tensor]
    shapes: list[tuple[int, ...]]
    dtype: torch.dtype
    shard: Shard


class HelperSettings(NamedTuple):
    """How a helper computes."""

    rank: int
    world: int
    port: int
    kind: str
    threads: int
    kernels: Literal["fused", "plain"]
    precision: Precision


def serve(settings: HelperSettings, payload: bytes, errors: Connection) -> None:
    """Be a helper: run jobs until there are no more.

    Args:
        settings: Who it is, and how it computes.
        payload: What makes the network, pickled by this project's own process.
        errors: Takes one line if something fails.

    Raises:
        SystemExit: Something failed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches rank 0, which ends its helpers
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        with computing(threads=settings.threads, kernels=settings.kernels, precision=settings.precision):
            _serve(settings, payload)
    except BaseException as error:
        errors.send(f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])
        raise SystemExit(1) from error


def _serve(settings: HelperSettings, payload: bytes) -> None:
    device = torch.device("cpu") if settings.kind == "cpu" else torch.device("cuda", settings.rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    build = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=False)
    network: QuantizedNetwork = build().to(device)
    store = TCPStore(HOST, settings.port, is_master=False)
    store.set(f"ready{settings.rank}", "")
    ranks = Ranks(settings.rank, settings.world)
    join(store, device.type, ranks)
    call: Call | None
    while (call := ranks.agreed(None)) is not None:
        network.load_state(call.state)
        images = torch.empty(call.shapes[ranks.rank], dtype=call.dtype)
        dist.recv(images, 0)
        own = Store.of(images.to(device, memory_format=torch.channels_last))
        call.job.run(network, own, call.shard.of(ranks.rank), listener=Silent(), finished=None)
    leave(broken=False)


def join(store: TCPStore, kind: str, ranks: Ranks) -> None:
    """Join the group of processes: over gloo, between GPUs over NCCL.

    Args:
        store: Where they meet.
        kind: ``cpu`` or ``cuda``.
        ranks: Who this process is.
    """
    backend = "gloo" if kind == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.world, timeout=TIMEOUT)


def leave(*, broken: bool) -> None:
    """Leave the group of processes.

    Args:
        broken: Whether another one has ended.
    """
    if broken and dist.distributed_c10d.is_nccl_available() and "nccl" in dist.get_backend_config():
        dist.distributed_c10d._abort_process_group()  # what waits for the others would wait forever
    else:
        dist.destroy_process_group()
