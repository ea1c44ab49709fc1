"""What the command line asks for."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Options:
    """What all parts know.

    Attributes:
        device: A GPU; the CPU for a rehearsal, which is as small as can be.
        images: Folder with ``train`` and ``val``, each with ImageNet's class folders; None: accuracy is not
            measured.
    """

    device: torch.device
    images: Path | None

    @property
    def rehearsal(self) -> bool:
        """Whether nothing is to be learned but that the command works."""
        return self.device.type == "cpu"
