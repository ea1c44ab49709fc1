"""The schema: one frozen dataclass a config group, with defaults, units and ranges.

No other file holds a default.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from mrecg.config import bit_keys
from mrecg.config.finishing import FinishConfig
from mrecg.config.inputs import DataConfig, ModelConfig, PositiveInt
from mrecg.config.merging import PlannerConfig
from mrecg.config.outputs import CheckpointConfig, LoggerConfig, SharedConfig
from mrecg.config.rebasis import RebasisConfig
from mrecg.methods.hyperparameters import STRICT
from mrecg.methods.qdrop import QDrop
from mrecg.methods.registry import MethodConfig

BitWidth = Annotated[int, Field(ge=2, le=32)]
Precision = Literal[32, "tf32", "bf16"]
PUBLISHED_STEPS, MOST_LR_FACTOR = 20_000, 20.0
"""Steps a unit of the published protocols, and the largest factor of trainer.lr_factor=auto."""
MERGING = ("mixed", "fixed", "stage", "network")
"""Granularities that optimise several blocks jointly."""
FLOAT_BITS = 32
"""A bit width of 32 means: not quantized."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BitsConfig:
    """Bit widths; 32 means not quantized."""

    weight: BitWidth = 2
    """Bits of a weight (2 to 8, or 32); with bits.budget the fewest that a layer gets."""
    activation: BitWidth = 4
    """Bits of an activation (2 to 8, or 32)."""
    boundary: BitWidth | None = 8
    """Bits of the first and last layer's weights and of the last layer's input; null: as all others."""
    stem_output: Literal["low", "high", 8] = "low"
    """Bits of the first layer's output: those of all others ("QDrop setting"), bits.boundary ("BRECQ
    setting"), or 8 whatever bits.boundary is. With bits.activation=32 it stays in floating point."""
    input: BitWidth = 32
    """Bits of the network's input image (2 to 8, or 32, as published), whatever bits.activation is."""
    symmetric_weights: bool = False
    """Whether weight grids are centred on zero."""
    per_tensor_weights: bool = False
    """Whether a whole weight has one scale and zero point, instead of one an output channel."""
    layers: dict[str, int] = Field(default_factory=dict)
    """Weight bits by pattern, for example {features.0: 8, kind:depthwise: 4}: the name of a layer or of a
    module around it, with * and ? for any letters, or a kind (conv, linear, depthwise, grouped, pointwise,
    first, last). Of several that match a layer the last counts."""
    activations: dict[str, int] = Field(default_factory=dict)
    """Bits of what a layer reads, by the same patterns. A value that several layers read has one width: the
    fewest bits that were asked for by a pattern. The image has bits.input."""
    exclude: tuple[str, ...] = ()
    """Layers that stay in full precision, with what they alone read, by the same patterns; they count before
    bits.layers and bits.activations."""

    budget: float | str | None = None
    """Average bits of a weight (3.5), or a size of the whole network (120kB): the width of each layer, at
    least bits.weight, is then chosen by what quantizing it alone does to the predictions on held-out
    calibration images. An average counts the layers that have bits.weight otherwise: not the first and last
    with bits.boundary, nor what patterns name. null: no widths are chosen."""

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: Any) -> Any:
        return None if value is None else bit_keys.budget(value)

    @model_validator(mode="after")
    def _weights_to_choose(self) -> "BitsConfig":
        if self.budget is not None and self.weight == FLOAT_BITS:
            raise ValueError("bits.budget: chooses bits of weights, which bits.weight=32 does not quantize")
        if isinstance(self.budget, float) and self.budget < self.weight:
            raise ValueError(
                f"bits.budget: {self.budget:g} is less than bits.weight={self.weight}, the fewest bits of "
                "a layer"
            )
        return self

    @field_validator("layers", "activations", mode="before")
    @classmethod
    def _by_pattern(cls, value: Any) -> Any:
        return bit_keys.by_pattern(value)

    @field_validator("exclude", mode="before")
    @classmethod
    def _patterns(cls, value: Any) -> Any:
        return bit_keys.patterns(value)

    @property
    def patterned(self) -> bool:
        """Whether some layers have widths of their own."""
        return bool(self.layers or self.activations or self.exclude)

    @field_validator("weight", "activation", "boundary", "input")
    @classmethod
    def _storable(cls, value: int | None) -> int | None:
        if value is not None and 8 < value < FLOAT_BITS:
            raise ValueError("must be 2 to 8, or 32 for not quantized")
        return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CalibrationConfig:
    """How the first ranges are found."""

    weight_range: Literal["lp", "minmax", "output"] = "lp"
    """Minimum of an L_p error, the extremes, or the least error of the layer's output."""
    activation_range: Literal["lp", "minmax"] = "lp"
    """Minimum of an L_p error over a histogram, or the extremes."""
    norm: Annotated[float, Field(ge=1, le=8)] = 2.4
    """p of the L_p error."""
    bins: Annotated[int, Field(ge=64, le=65536)] = 2048
    """Bins of an activation's histogram."""
    candidates: Annotated[int, Field(ge=2, le=1000)] = 80
    """Ranges tried along each direction of the search."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GranularityConfig:
    """What is optimised jointly."""

    name: Literal["layer", "block", "mixed", "fixed", "stage", "network"] = "mixed"
    """Each layer, each block, blocks merged by the planner, the groups given here, the blocks of a stage, or
    everything at once."""
    groups: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = ()
    """For granularity=fixed: unit names to merge, for example [[features.3,features.4]]; all others stay
    alone."""
    max_unit_layers: Annotated[int, Field(ge=2)] = 16
    """Weight layers in one unit, at most; a larger one (a dense block) is cut where several tensors that fit
    together leave at once, and the plan says so."""

    @model_validator(mode="after")
    def _groups_are_set(self) -> "GranularityConfig":
        if (self.name == "fixed") != bool(self.groups):
            raise ValueError(
                "granularity.groups: needs groups such as [[features.3,features.4]] for granularity=fixed, "
                "and none otherwise"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainerConfig:
    """The optimisation of one group."""

    steps: PositiveInt = PUBLISHED_STEPS
    """Optimisation steps a unit."""
    lr_factor: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = 1.0
    """Factor on all learning rates of the method, which were chosen for 20,000 steps; fewer need more. auto:
    20,000 over the steps, so that the way to go stays the same, at least 1 and at most 20."""
    steps_per: Literal["unit", "group"] = "unit"
    """Whether a merged group gets these steps once for each member (equal total) or once in all."""
    batch_size: PositiveInt = 32
    """Images a step."""
    chunk: PositiveInt = 50
    """Steps in one training_step of Lightning; progress and curves move by it."""
    log_every: PositiveInt = 10
    """Steps between two points of a curve."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    devices: PositiveInt = 1
    """Devices that reconstruct each group together, data-parallel: the first so many GPUs, or CPU processes
    of trainer.threads each. batch_size is that of all together. Tested on CPUs; not run on a GPU."""
    threads: PositiveInt | None = None
    """CPU threads of torch; null: its own choice. One is robust on a busy machine and repeats on any."""
    cuda_graphs: bool = False
    """On a GPU, record the step of each group once and replay it. Not yet tried on a device."""
    kernels: Literal["fused", "plain"] = "fused"
    """Fused kernels where there are some (float32, CPU, CUDA), or torch operations that compute the same."""

    @property
    def rates(self) -> float:
        """The factor on the method's learning rates, as a number."""
        if self.lr_factor != "auto":
            return self.lr_factor
        return min(max(PUBLISHED_STEPS / self.steps, 1.0), MOST_LR_FACTOR)

    @model_validator(mode="after")
    def _devices_fit(self) -> "TrainerConfig":
        if self.devices > 1 and self.cuda_graphs:
            raise ValueError("trainer.cuda_graphs: goes with trainer.devices=1 only; set it to false")
        if self.devices > 1 and self.device.startswith("cuda:"):
            raise ValueError(
                f"trainer.devices: {self.devices} devices are the first GPUs; "
                f"set trainer.device=cuda instead of {self.device}"
            )
        return self

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if value not in ("auto", "cpu", "cuda") and not (value.startswith("cuda:") and value[5:].isdigit()):
            raise ValueError("choose from auto, cpu, cuda, cuda:N")
        return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CacheConfig:
    """How the activations of the calibration images are kept between the units."""

    dtype: Literal["float32", "bfloat16", "uint8-exact"] = "float32"
    """float32; uint8-exact (quantized activations as integers of their grid, read back without a loss, the
    rest as float32); or bfloat16 (everything rounded: half the memory, with a loss)."""
    device: Literal["auto", "cuda", "cpu", "disk"] = "auto"
    """Where the cache begins; what is over budget moves on from cuda to cpu to disk. auto: where the network
    is."""
    budget_mb: Annotated[int, Field(ge=0)] | None = None
    """Memory of the cache in each of cuda and cpu, MB; null: 60 % of what is available at the start."""
    folder: Path | None = None
    """Folder of what is on disk, best on a fast disk; null: the system's temporary folder (which may itself
    be memory)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunConfig:
    """Everything that defines a run."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network."""
    data: DataConfig = Field(default_factory=DataConfig)
    """The images."""
    bits: BitsConfig = Field(default_factory=BitsConfig)
    """The bit widths."""
    rebasis: RebasisConfig = Field(default_factory=RebasisConfig)
    """The basis that activations are quantized in."""
    calibration: CalibrationConfig = Field(default_factory=CalibrationConfig)
    """The search of ranges."""
    method: MethodConfig = Field(default_factory=QDrop)
    """What is learned, and how."""
    granularity: GranularityConfig = Field(default_factory=GranularityConfig)
    """What is optimised jointly."""
    planner: PlannerConfig = Field(default_factory=PlannerConfig)
    """How groups are chosen."""
    trainer: TrainerConfig = Field(default_factory=TrainerConfig)
    """The optimisation."""
    finish: FinishConfig = Field(default_factory=FinishConfig)
    """What the whole network learns after it."""
    cache: CacheConfig = Field(default_factory=CacheConfig)
    """How activations are kept between the units."""
    shared: SharedConfig = Field(default_factory=SharedConfig)
    """What runs share."""
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    """What an interrupted run resumes from."""
    logger: LoggerConfig = Field(default_factory=LoggerConfig)
    """Where curves go."""
    reuse: Literal["prefix", "none"] = "prefix"
    """prefix: groups that another run has optimised, after the same beginning and with the same settings,
    are taken from shared.folder, bit by bit; none: only calibrations and probes are."""
    on_divergence: Literal["stop", "retry"] = "stop"
    """What to do with a group whose loss is not finite, or exploded: stop, or try it again from its start
    with half the learning rates, at most twice, which the summary says."""
    resume: Literal["auto", "never"] = "auto"
    """auto: a run whose folder holds an interrupted one with the same settings resumes that one; never: it
    begins again. On the command line also a run folder: that run is resumed with its own settings."""
    name: str = "run"
    """Name of the run, in its folder and in W&B."""
    precision: Precision = 32
    """Arithmetic of convolutions and linear layers: 32 (float32 with all its bits), tf32 (float32 as NVIDIA's
    GPUs round it from Ampere on: 10 bits of mantissa, in the whole run, accuracies too), or bf16 (bfloat16 in
    the optimisation, faster where the processor has it; grouped convolutions and all else have float32)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the optimisation's draws (and of random initial weights)."""
    run: Path | None = None
    """For the verb evaluate: a saved run folder; null: the FP model, or path."""
    path: Path | None = None
    """For the verb evaluate: an exported file (.onnx, .pt2, or a run's quantized.safetensors)."""
    pictures: bool = False
    """For the command plan: draw plan.png and plan.svg, too, which takes longer than many a plan."""
    allow_import: bool = False
    """Whether a model or data set that a run folder or a file names by import path may be imported, which
    runs its code; what stands on the command line always may."""

    @model_validator(mode="after")
    def _one_to_evaluate(self) -> "RunConfig":
        if self.run is not None and self.path is not None:
            raise ValueError("path: goes without run; give the run folder or the file")
        return self
