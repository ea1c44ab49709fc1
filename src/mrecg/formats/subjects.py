"""Exported files under test: their logits, and what their grids give."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mrecg.formats.check import EXACT, ROUNDED
from mrecg.formats.runners import OnnxRunner, Tapped


class OnnxSubject:
    """An ONNX file under ONNX Runtime.

    Args:
        content: Of the file.
        optimised: Whether the graph is optimised.
        integer: Whether it is for integer kernels, whose biases are rounded.
    """

    def __init__(self, content: bytes, *, optimised: bool, integer: bool = False) -> None:
        self.content, self.optimised = content, optimised
        kind = "INT8 kernels" if integer else "ONNX Runtime"
        self.what = f"{kind}, {'optimised' if optimised else 'as written'}"
        self.bounds = ROUNDED if integer else EXACT
        self.runner = OnnxRunner(content, self.what, optimised=optimised)
        self._tapped: OnnxRunner | None = None

    def logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Give all outputs of a batch."""
        return tuple(self.runner.all(images))

    def grids(self, images: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Give what every grid gives for a batch, by a copy of the file that gives that, too."""
        if self._tapped is None:
            import onnx

            model = onnx.load_from_string(self.content)
            del model.graph.output[:]
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
            self._tapped = OnnxRunner(model.SerializeToString(), self.what, optimised=self.optimised)
        return self._tapped.all(images)


class TorchSubject:
    """A program of torch.export.

    Args:
        module: The program's module.
    """

    what, bounds = "torch.export", EXACT

    def __init__(self, module: nn.Module) -> None:
        assert isinstance(module, torch.fx.GraphModule)
        self.module = module

    def logits(self, images: Tensor) -> Any:
        """Give what the program returns for a batch."""
        return self.module(images)

    def grids(self, images: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Give what every grid gives for a batch."""
        tapped = Tapped(self.module, names)
        tapped.run(images)
        return [tapped.found[name] for name in names]


class ModuleSubject:
    """A network that was loaded again."""

    what, bounds = "packed, reloaded", EXACT

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def logits(self, images: Tensor) -> Any:
        """Give what the network returns for a batch."""
        return self.module(images.contiguous(memory_format=torch.channels_last))

    def grids(self, images: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Give what every grid gives for a batch."""
        found: dict[str, Tensor] = {}
        hooks = [
            self.module.get_submodule(name).register_forward_hook(
                lambda part, inputs, output, name=name: found.__setitem__(name, output)
            )
            for name in names
        ]
        try:
            self.logits(images)
        finally:
            for hook in hooks:
                hook.remove()
        return [found[name] for name in names]
