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

BitWidth = Annotated[int, Field(ge=2, le=32, description="2 to 8, or 32")]
Precision = Literal[32, "tf32", "bf16"]
PUBLISHED_STEPS, MOST_LR_FACTOR = 20_000, 20.0
"""Steps a unit of the published protocols, and the largest factor of trainer.lr_factor=auto."""
MERGING = ("mixed", "fixed", "stage", "network")
"""Granularities that optimise several blocks jointly."""
FLOAT_BITS = 32
"""A bit width of 32 means: not quantized."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BitsConfig:
    """The bit widths of weights and activations. 32 means not quantized."""

    weight: BitWidth = 2
    """The bits of a weight. With bits.budget it is the least that a layer gets."""
    activation: BitWidth = 4
    """The bits of an activation."""
    boundary: BitWidth | None = 8
    """The bits of the first and the last layer's weights, and of the last layer's input. With null they are
    those of all others."""
    stem_output: Literal["low", "high", 8] = "low"
    """The bits of the first layer's output: `low` takes bits.activation ("QDrop setting"), `high` takes
    bits.boundary ("BRECQ setting"), and 8 takes 8 bits in any case. With bits.activation=32 it stays in
    floating point."""
    input: BitWidth = 32
    """The bits of the network's input image. Published results leave it at 32."""
    symmetric_weights: bool = False
    """Whether weight grids are centred on zero."""
    per_tensor_weights: bool = False
    """Whether a weight has one scale and zero point for the whole tensor, instead of one per output
    channel."""
    layers: dict[str, int] = Field(default_factory=dict)
    """Weight bits by pattern, for example `{features.0: 8, kind:depthwise: 4}`. A pattern is the name of a
    layer or of a module around it, with * and ? for any letters, or a kind: conv, linear, depthwise, grouped,
    pointwise, first, last. If several match a layer, the last one counts."""
    activations: dict[str, int] = Field(default_factory=dict)
    """Bits of what a layer reads, by the same patterns. If several layers read a value, it gets the fewest
    bits that a pattern asks for. The image has bits.input."""
    exclude: tuple[str, ...] = ()
    """Patterns of layers that stay in full precision, together with values that only they read. They take
    precedence over bits.layers and bits.activations."""

    budget: float | str | None = None
    """Average bits of a weight (3.5), or a size of the whole network (200kB). The bits of each layer, at
    least bits.weight, are then chosen by what quantizing it alone does to the predictions on held-out
    calibration images. The average leaves out the first and the last layer and layers that patterns name."""

    @field_validator("weight", "activation", mode="before")
    @classmethod
    def _one_width(cls, value: Any) -> Any:
        return bit_keys.one_width(value)

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
    """How the first ranges of weights and activations are found, before anything is learned."""

    weight_range: Literal["lp", "minmax", "output"] = "lp"
    """How the range of a weight is chosen: `lp` minimises an L_p error, `minmax` takes the extremes, and
    `output` minimises the error of the layer's output."""
    activation_range: Literal["lp", "minmax", "output"] = "lp"
    """How the range of an activation is chosen: `lp` minimises an L_p error over a histogram, `minmax` takes
    the extremes, and `output` continues from `lp` and minimises the error of the next unit's output."""
    norm: Annotated[float, Field(ge=1, le=8)] = 2.4
    """The exponent p of the L_p error."""
    bins: Annotated[int, Field(ge=64, le=65536)] = 2048
    """The number of bins of an activation's histogram."""
    candidates: Annotated[int, Field(ge=2, le=1000)] = 80
    """The number of ranges tried along each direction of the search."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GranularityConfig:
    """What is optimised jointly: the groups."""

    name: Literal["layer", "block", "mixed", "fixed", "stage", "network"] = "mixed"
    """What forms a group: each layer, each block, blocks that the planner merges, the groups given here, the
    blocks of a stage, or the whole network."""
    groups: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = ()
    """The units to merge for granularity=fixed, for example `[[features.3,features.4]]`. All others stay
    alone."""
    max_unit_layers: Annotated[int, Field(ge=2)] = 16
    """The most weight layers in a unit. A larger unit (a dense block) is split where several tensors that fit
    together leave at once, and the plan reports the split."""

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
    """The number of optimisation steps per unit."""
    lr_factor: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = 1.0
    """A factor on all learning rates of the method, which were chosen for 20,000 steps. `auto` takes 20,000 /
    steps, at least 1 and at most 20."""
    steps_per: Literal["unit", "group"] = "unit"
    """Whether a merged group gets trainer.steps for each of its units (equal total) or once in all."""
    batch_size: PositiveInt = 32
    """The number of images in a step."""
    chunk: PositiveInt = 50
    """The number of steps between two updates of progress and curves."""
    log_every: PositiveInt = 10
    """The number of steps between two points of a curve."""
    device: str = "auto"
    """The device: auto, cpu, cuda or cuda:N."""
    devices: PositiveInt = 1
    """The number of devices that optimise each group together (data-parallel): the first GPUs, or CPU
    processes with trainer.threads each. Tested on CPUs, not yet run on GPUs."""
    threads: PositiveInt | None = None
    """The number of CPU threads. With null torch chooses. One thread is right for several runs side by side,
    and repeats on any machine."""
    cuda_graphs: bool | Literal["auto"] = "auto"
    """Whether the step of each group is recorded once on a GPU and replayed, which computes the same several
    times faster. With auto it is wherever one GPU computes and holds what the group learns from; a step that
    cannot be recorded is computed as usual, after a warning. With true this is an error."""
    kernels: Literal["fused", "plain"] = "fused"
    """`fused` uses kernels that do several operations in one pass where there are some, and `plain` uses
    torch operations that compute the same."""

    @property
    def rates(self) -> float:
        """The factor on the method's learning rates, as a number."""
        if self.lr_factor != "auto":
            return self.lr_factor
        return min(max(PUBLISHED_STEPS / self.steps, 1.0), MOST_LR_FACTOR)

    @model_validator(mode="after")
    def _devices_fit(self) -> "TrainerConfig":
        if self.devices > 1 and self.cuda_graphs is True:
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
    """How activations of the calibration images are kept between the units."""

    dtype: Literal["float32", "bfloat16", "uint8-exact"] = "float32"
    """How values are kept. `uint8-exact` keeps quantized activations as integers of their grid, without a
    loss; `bfloat16` rounds everything to half the memory, with a loss."""
    device: Literal["auto", "cuda", "cpu", "disk"] = "auto"
    """Where the cache begins; what exceeds the budget moves on from cuda to cpu to disk. `auto` begins where
    the network is."""
    budget_mb: Annotated[int, Field(ge=0)] | None = None
    """The memory of the cache in each of cuda and cpu, MB. With null it is 60 % of what is available at the
    start."""
    folder: Path | None = None
    """The folder for what is on disk, best on a fast one. With null it is the system's temporary folder,
    which may itself be memory."""


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
    """What is learned in each group, and how."""
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
    """`prefix` takes groups from shared.folder that another run has optimised after the same beginning and
    with the same settings, bit by bit. `none` takes calibrations and probes only."""
    on_divergence: Literal["stop", "retry"] = "stop"
    """What to do if the loss of a group is not finite or explodes: stop the run, or retry the group with half
    the learning rates, at most twice. The summary reports it."""
    resume: Literal["auto", "never"] = "auto"
    """`auto` resumes an interrupted run with the same settings in the run's folder, repeats a finished
    one, and refuses the folder of another run. `never` begins again, and replaces what is there. On the
    command line also a run folder: that run is resumed with its own settings."""
    name: str = "run"
    """The name of the run, in its folder and in W&B."""
    precision: Precision = 32
    """The arithmetic of convolutions and linear layers: 32 (float32 with all its bits), tf32 (float32 as
    NVIDIA's GPUs round it, in the whole run) or bf16 (bfloat16 for dense convolutions in the optimisation,
    faster on processors that have it)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The seed of all draws of the optimisation, and of random initial weights."""
    run: Path | None = None
    """The run folder to evaluate, for `mrecg evaluate`. With null it is the full-precision network, or
    path."""
    path: Path | None = None
    """The exported file to evaluate, for `mrecg evaluate`: .onnx, .pt2, or a run's quantized.safetensors."""
    pictures: bool = False
    """Whether `mrecg plan` also draws plan.png and plan.svg. That may take longer than the plan itself."""
    allow_import: bool = False
    """Whether a model or data set that a run folder or a file names by its import path may be imported, which
    runs its code. What stands on the command line always may."""

    @model_validator(mode="after")
    def _one_to_evaluate(self) -> "RunConfig":
        if self.run is not None and self.path is not None:
            raise ValueError("path: goes without run; give the run folder or the file")
        return self
