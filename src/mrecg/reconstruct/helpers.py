"""Several devices for one reconstruction: this process and helpers, each with a device and its own images.

This process is rank 0 and does all the rest of a run alone. A helper builds the same network, waits for jobs
(`mrecg.reconstruct.job.Job`), and runs each in step with rank 0; it writes nothing and shows nothing.
"""

import io
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from mrecg.config.finishing import FinishConfig
from mrecg.config.schema import Precision, TrainerConfig
from mrecg.errors import ConfigError, DeviceError
from mrecg.planner.schedule import Plan
from mrecg.quant.quantized_network import QuantizedNetwork
from mrecg.reconstruct.activation_cache import Store
from mrecg.reconstruct.engine import reconstruct
from mrecg.reconstruct.events import Listener, Silent
from mrecg.reconstruct.finishing import Finishing, FinishJob, finish
from mrecg.reconstruct.group_state import Finished
from mrecg.reconstruct.helper_process import HOST, Call, HelperSettings, join, leave, serve
from mrecg.reconstruct.job import Job, Reconstruction
from mrecg.reconstruct.merge_trials import Trials
from mrecg.reconstruct.ranks import Ranks, Shard
from mrecg.reconstruct.settings import Settings

_PATIENCE = 5.0
"""Seconds in which a helper whose connection broke is seen to have ended."""


class Team:
    """Starts the helpers, and ends them with its ``with`` block. One device takes none.

    Args:
        build: Makes the network that will be reconstructed, on the CPU and not calibrated; it must be
            possible to pickle it where there are helpers.
        trainer: Number of devices, threads and kernels.
        device: Of this process.
        precision: What float32 means there; see `mrecg.system.tf32`.

    Raises:
        ConfigError: What makes the network cannot be sent to other processes, or this process belongs to a
            group of processes already.
    """

    def __init__(
        self,
        build: Callable[[], QuantizedNetwork],
        *,
        trainer: TrainerConfig,
        device: torch.device,
        precision: Precision = 32,
    ) -> None:
        self.devices = trainer.devices
        self._build, self._trainer, self._device, self._precision = build, trainer, device, precision
        self._helpers: list[tuple[SpawnProcess, Connection]] = []
        self._threads = trainer.threads or max(1, torch.get_num_threads() // trainer.devices)
        self._connected = False

    def __enter__(self) -> "Team":
        if self.devices == 1:
            return self
        if dist.is_initialized():
            raise ConfigError(f"trainer.devices: {self.devices}: this process is in a process group already")
        payload = self._payload()
        self._store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        context = multiprocessing.get_context("spawn")
        for rank in range(1, self.devices):
            ours, theirs = context.Pipe(duplex=False)
            settings = HelperSettings(
                rank,
                self.devices,
                self._store.port,
                self._device.type,
                self._threads,
                self._trainer.kernels,
                self._precision,
            )
            process = context.Process(target=serve, args=(settings, payload, theirs), daemon=True)
            process.start()
            theirs.close()
            self._helpers.append((process, ours))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._connected and kind is None:
            with suppress(RuntimeError):
                Ranks(0, self.devices).agreed(None)  # no more jobs
        for process, _ in self._helpers:
            process.join(_PATIENCE if self._connected and kind is None else 0)
            if process.is_alive():
                process.kill()
                process.join()
        if self._connected:
            leave(broken=kind is not None)
        self._helpers, self._connected = [], False

    def reconstruct(
        self,
        network: QuantizedNetwork,
        images: Tensor,
        plan: Plan,
        settings: Settings,
        *,
        listener: Listener | None = None,
        trials: Trials | None = None,
        finished: Finished | None = None,
    ) -> Reconstruction:
        """Optimise a network on all devices; else as `mrecg.reconstruct.engine.reconstruct`.

        Raises:
            ConfigError: Also where there are fewer images than devices.
            DeviceError: A helper has ended.
        """
        listener = listener or Silent()
        if self.devices == 1:
            return reconstruct(
                network, images, plan, settings, listener=listener, trials=trials, finished=finished
            )
        job, store = Job.of(network, plan, settings, trials=trials), Store.of(images)
        if -(-store.images // job.block) < self.devices:
            blocks = "" if job.block == 1 else f" in blocks of {job.block}, which are corrected together"
            raise ConfigError(
                f"trainer.devices: {self.devices} share {store.images} calibration images{blocks}; "
                "take fewer devices or more images"
            )
        with self._shared(job, network, store) as (own, shard):
            return job.run(network, own, shard, listener=listener, finished=finished)

    def finish(
        self,
        network: QuantizedNetwork,
        images: Tensor,
        config: FinishConfig,
        settings: Settings,
        *,
        listener: Listener | None = None,
        finished: Finished | None = None,
    ) -> Finishing:
        """Finish a reconstructed network on all devices; else as `mrecg.reconstruct.finishing.finish`.

        Raises:
            DeviceError: A helper has ended.
        """
        if self.devices == 1:
            return finish(network, images, config, settings, listener=listener, finished=finished)
        job = FinishJob(config=config, settings=settings)
        with self._shared(job, network, Store.of(images)) as (own, shard):
            return job.run(network, own, shard, listener=listener or Silent(), finished=finished)

    @contextmanager
    def _shared(
        self, job: Job | FinishJob, network: QuantizedNetwork, images: Store
    ) -> Iterator[tuple[Store, Shard]]:
        """Set the helpers to a job; gives the own images, and which these are."""
        shard = Shard(images.images, Ranks(0, self.devices), job.block)
        with self._watched(), _threads(self._threads):
            self._connect()
            self._send(job, network, images, shard)
            yield Store.of(images.take(shard.owned)), shard

    def _send(self, job: Job | FinishJob, network: QuantizedNetwork, images: Store, shard: Shard) -> None:
        shards = [shard.of(rank) for rank in range(self.devices)]
        shapes = [(len(each.owned), *images.shape[1:]) for each in shards]
        state = network.state()
        network.load_state(state)  # as the helpers do: of what earlier jobs left nothing else counts
        shard.ranks.agreed(Call(job, state, shapes, images.dtype, shard))
        for rank in range(1, self.devices):
            dist.send(images.take(shards[rank].owned).cpu().contiguous(), rank)

    def _payload(self) -> bytes:
        content = io.BytesIO()
        try:
            torch.save(self._build, content)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"trainer.devices: {self.devices}: the model cannot be sent to other processes ({error}); "
                "define its classes and functions in a module, or set trainer.devices=1"
            ) from error
        return content.getvalue()

    def _connect(self) -> None:
        if self._connected:
            return
        ready = [f"ready{rank}" for rank in range(1, self.devices)]
        while not self._store.check(ready):
            if reason := self._ended(0.1):
                raise DeviceError(reason)
        join(self._store, self._device.type, Ranks(0, self.devices))
        self._connected = True
        if self._device.type == "cuda":
            threading.Thread(target=self._watch, name="mrecg-helpers", daemon=True).start()

    def _watch(self) -> None:
        """Break off what waits for a helper that has ended: NCCL would wait for ever, Gloo notices it."""
        wait([process.sentinel for process, _ in self._helpers])
        if any(process.exitcode for process, _ in self._helpers):
            dist.distributed_c10d._abort_process_group()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Where a connection breaks, say what happened at its other end."""
        try:
            yield
        except RuntimeError as error:
            if reason := self._ended(_PATIENCE):
                raise DeviceError(reason) from error
            raise

    def _ended(self, patience: float) -> str | None:
        """Say in one line which helper has failed; None where all are at work."""
        left = wait([process.sentinel for process, _ in self._helpers], timeout=patience)
        found = []
        for rank, (process, errors) in enumerate(self._helpers, 1):
            if process.sentinel in left:
                process.join(_PATIENCE)  # its connections close a little before it is gone
            if process.exitcode:
                try:
                    reason = errors.recv()
                except EOFError:
                    reason = _exit_reason(process.exitcode)
                found.append(
                    (_follows(reason), f"trainer.devices: process {rank} of {self.devices}: {reason}")
                )
        return min(found)[1] if found else None


def _follows(reason: str) -> bool:
    """Whether a failure looks like the consequence of another process's."""
    return any(word in reason.lower() for word in ("peer", "connection", "nccl"))


def _exit_reason(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
