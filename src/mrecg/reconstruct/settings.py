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
        held_out: Fraction of the images from which no group learns: on them it is decided which of the plan's
            merges are made. 0: none, and all are made.
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

    @classmethod
    def of(cls, config: RunConfig) -> "Settings":
        """Take them from the configuration of a run."""
        judged = config.granularity.name == "mixed" and config.planner.judged
        return cls(
            method=config.method,
            trainer=config.trainer,
            cache=config.cache,
            precision=config.precision,
            seed=config.seed,
            eval_batch=config.data.batch_size,
            model=config.model.name,
            retries=RETRIES if config.on_divergence == "retry" else 0,
            held_out=config.planner.held_out if judged else 0.0,
        )

    def passes(self, *, depthwise: bool) -> tuple[Pass, ...]:
        """The method's passes; what it leaves open depends on whether the network is ``depthwise``."""
        return passes_of(self.method, depthwise=depthwise, model=self.model, lr_factor=self.trainer.lr_factor)
