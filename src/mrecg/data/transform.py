"""From a picture to the tensor that a model takes: resize, centre crop, normalise."""

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from mrecg.config.inputs import LARGEST, SMALLEST_STD, DataConfig
from mrecg.data.pictures import refuse_large
from mrecg.data.preprocessing import Preprocessing
from mrecg.errors import ConfigError, DataError

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by the number of channels that a model takes."""
WIDE_MODES = ("I", "F")
"""First letters of Pillow's modes beyond 8 bits a channel; converting these would clip without a word."""


@dataclass(frozen=True)
class Transform:
    """The same steps as torchvision's presets, to the last bit.

    Attributes:
        preprocessing: What the model wants.
        resize: Shorter side before the crop, pixels; None: as stored.
        resize_key: What the user wrote, for messages.
    """

    preprocessing: Preprocessing
    resize: int | None
    resize_key: str

    @classmethod
    def of(cls, config: DataConfig, preprocessing: Preprocessing) -> "Transform":
        """Let ``data.resize`` have its way over what the model says."""
        if isinstance(config.resize, int):
            resize: int | None = config.resize
        else:
            resize = {"model": preprocessing.resize, "none": None}[config.resize]
        return cls(preprocessing, resize, f"data.resize={config.resize}")

    def __call__(self, picture: Image.Image, name: str) -> Tensor:
        """Make a picture into what the model takes.

        Args:
            picture: 8 bits a channel; colour becomes grey for a model of one channel, and grey becomes colour
                for one of three.
            name: File or item, for messages.

        Returns:
            The image, shape (C, H, W), float32.

        Raises:
            DataError: The model takes neither grey nor colour, or the picture is too small or too deep.
            ConfigError: Mean or standard deviation do not go with the model's channels.
        """
        from torchvision.transforms import InterpolationMode, functional

        channels, *crop = self.preprocessing.input_shape
        if channels not in MODES:
            raise DataError(
                f"{name}: is a picture, and the model takes {channels} channels; "
                f"pictures serve models of 1 or 3, data=dataset can give any tensors"
            )
        if picture.mode.startswith(WIDE_MODES):
            raise DataError(f"{name}: has pixels of Pillow's mode {picture.mode}; wants 8 bits a channel")
        mean = self._channels("mean", self.preprocessing.mean)
        std = self._channels("std", self.preprocessing.std)
        picture = _converted(picture, MODES[channels], name)
        if self.resize is not None:
            short, long = sorted(picture.size)
            other = self.resize * long // short  # of a narrow picture a resize makes an endless strip
            refuse_large((self.resize, other), f"{name}: with {self.resize_key}")
            how = InterpolationMode(self.preprocessing.interpolation)
            picture = functional.resize(picture, [self.resize], how, antialias=True)
        if picture.height < crop[0] or picture.width < crop[1]:
            # The crop would pad it with black and say nothing.
            as_stored = " (as stored)" if self.resize is None else ""
            raise DataError(
                f"{name}: is {picture.height} x {picture.width} pixels (height x width) with "
                f"{self.resize_key}{as_stored}, too small for the model's {crop[0]} x {crop[1]}"
            )
        pixels = functional.pil_to_tensor(functional.center_crop(picture, crop))
        image: Tensor = functional.normalize(functional.convert_image_dtype(pixels), mean, std)
        return image

    def _channels(self, key: str, values: tuple[float, ...]) -> list[float]:
        channels = self.preprocessing.input_shape[0]
        if len(values) not in (1, channels):
            raise ConfigError(
                f"model.preprocessing.{key}: has {len(values)} values ({self.preprocessing.origin}), "
                f"the model takes {channels} channels; give 1 or {channels}"
            )
        # Negated, because NaN is neither smaller nor larger than anything.
        if not all(abs(value) <= LARGEST for value in values) or (
            key == "std" and not min(values) >= SMALLEST_STD
        ):
            least = f"{SMALLEST_STD:g}" if key == "std" else f"{-LARGEST:g}"
            raise ConfigError(
                f"model.preprocessing.{key}: {list(values)} is not right: give values from {least} to "
                f"{LARGEST:g}, on [0, 1] ({self.preprocessing.origin})"
            )
        return list(values) * (channels if len(values) == 1 else 1)


def _converted(picture: Image.Image, mode: str, name: str) -> Image.Image:
    """Decode a picture where that is still to be done, and make it grey or colour."""
    try:
        refuse_large(picture.size, name)
        if picture.mode == "P" and isinstance(picture.info.get("transparency"), bytes):
            # How opaque each colour of a palette is: dropped, like any other opacity. Pillow would warn.
            picture = picture.copy()
            del picture.info["transparency"]
        return picture.convert(mode)
    except (ValueError, OSError, SyntaxError) as error:
        raise DataError(f"{name}: {error}") from error
