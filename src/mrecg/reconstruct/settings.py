"""The settings of a reconstruction: what decides how every group is optimised, whatever the plan."""

from dataclasses import dataclass, field

from mrecg.config.schema import CacheConfig, Precision, RunConfig, TrainerConfig
from mrecg.methods.hyperparameters import MethodSettings
from mrecg.methods.passes import Pass
from mrecg.methods.registry import passes_of

RETRIES = 2
"""With on_divergence=retry: an eighth of the learning rates would be another method."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network is reconstructed.

    Attributes:
        method: The method's hyper-parameters.
        trainer: Steps, batch size, chunk and devices.
        cache: How activations are kept.
        precision: Of the convolutions while a group is optimised.
        seed: Of all draws.
        eval_batch: Images a forward pass when the cache advances.
        model: The network's name, by which methods find what papers choose for its family.
        retries: How often a group may begin again, with half the learning rates, after its loss diverged.
        held_out: Fraction of the images from which no group learns: they decide about merges, and choose when
            the network is finished. 0: groups learn from all.
        judged: Whether these images decide which of the plan's merges are made; False: all are.
    """

    method: MethodSettings
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    precision: Precision = 32
    seed: int = 0
    eval_batch: int = 32
    model: str = ""
    retries: int = 0
    held_out: float = 0.0
    judged: bool = False

    @classmethod
    def of(cls, config: RunConfig, *, merges: bool = True) -> "Settings":
        """Take them from the configuration of a run.

        Args:
            merges: Whether the plan has merges; without any there is nothing to judge.
        """
        judged = merges and config.granularity.name == "mixed" and config.planner.judged
        finishes = config.finish.name != "none"
        return cls(
            method=config.method,
            trainer=config.trainer,
            cache=config.cache,
            precision=config.precision,
            seed=config.seed,
            eval_batch=config.data.batch_size,
            model=config.model.name,
            retries=RETRIES if config.on_divergence == "retry" else 0,
            # Both draw from one shuffle, so the larger set holds the smaller one.
            held_out=max(config.planner.held_out * judged, config.finish.held_out * finishes),
            judged=judged,
        )

    def passes(self, *, depthwise: bool) -> tuple[Pass, ...]:
        """The method's passes; what it leaves open depends on whether the network is ``depthwise``."""
        return passes_of(self.method, depthwise=depthwise, model=self.model, lr_factor=self.trainer.rates)
