"""The one input and the outputs of a graph: taken apart while a model is traced, and one chosen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn

from mrecg.errors import GraphError
from mrecg.graph.chain import outputs_in
from mrecg.graph.reference import WRAP, OtherOutputsError, Reference
from mrecg.graph.structure import OUTPUTS, Structure, has_entries, listed, structure_of


class Ends:
    """What a graph takes and returns.

    Args:
        name: The model's class.
        output: Name or place of the only output that is wanted; None: all.
        expected: How the model's outputs are put together, where it was run.
    """

    def __init__(self, name: str, output: str | int | None, expected: Structure | None) -> None:
        self.name, self.output, self.expected = name, output, expected
        self._seen: Structure | None = None

    @contextmanager
    def taken_apart(self, model: nn.Module) -> Iterator[None]:
        """Let a model return its tensors one after the other while a tracer follows it.

        Args:
            model: The copy that is traced.
        """

        def apart(module: nn.Module, given: Any, returned: Any) -> tuple[Any, ...]:
            self._seen, tensors = structure_of(returned)
            return tuple(tensors)

        handle = model.register_forward_hook(apart)
        try:
            yield
        finally:
            handle.remove()

    def module(self, root: nn.Module, graph: fx.Graph) -> fx.GraphModule:
        """Make the module of a graph, with one input and the wanted outputs.

        Args:
            root: Has the modules and parameters.
            graph: What a tracer has made.

        Returns:
            The module; its ``meta`` has the structure, unless it returns one tensor alone.

        Raises:
            GraphError: There are several inputs, or not the output that is wanted.
            OtherOutputsError: The model returns its tensors in another structure than the graph.
        """
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise GraphError(
                f"{self.name} has {len(inputs)} inputs; only models with one input tensor are supported: "
                f"{WRAP}"
            )
        structure = self._structure()
        copied = fx.Graph()
        found: Any = copied.graph_copy(graph, {})
        found = [found] if isinstance(found, fx.Node) else list(found)
        if len(found) != len(structure.names) or not all(isinstance(node, fx.Node) for node in found):
            raise OtherOutputsError(f"{self.name}'s graph gives other outputs than the model")
        alone = structure.alone
        if self.output is not None:
            found, alone = [found[structure.place(self.output, self.name)]], True
        copied.output(found[0] if len(found) == 1 else tuple(found))
        made = fx.GraphModule(root, copied)
        if self.output is not None:
            made.graph.eliminate_dead_code()
            made.recompile()
        if not alone:
            made.meta[OUTPUTS] = structure
        return made

    def _structure(self) -> Structure:
        """How the outputs are put together, by the run of the model where there was one."""
        seen, expected = self._seen, self.expected
        assert seen is not None
        if expected is None:
            return seen
        computed = [name for name in seen.names if name not in expected.names]
        if computed and self.output is None:
            raise GraphError(
                f"{self.name} returns {listed(computed)}, which depends on the images and is no tensor; "
                f"return tensors alone, or choose one by model.output=NAME ({listed(expected.names)})"
            )
        return seen if self.output is not None else expected


def check_batches(traced: fx.GraphModule, reference: Reference | None) -> None:
    """Refuse outputs without an entry for each image: a unit's output has one.

    Args:
        reference: What the model gave; None: it was not run.

    Raises:
        GraphError: There is one.
    """
    if reference is None:
        return
    names, outputs = reference.structure.names, outputs_in(traced.graph)
    if not any(value.is_floating_point() for value in reference.outputs) and len(outputs) == 1:
        raise GraphError(
            f"{reference.name} returns {str(reference.outputs[0].dtype).removeprefix('torch.')}, no real "
            "numbers; return the scores that it makes them of"
        )
    for name, node, value in zip(names, outputs, reference.outputs, strict=False):
        if node.op != "get_attr" and not has_entries(value, len(reference.images)):
            what = f"output {name}" if name else "output"
            raise GraphError(
                f"{reference.name}: its {what} has shape {tuple(value.shape)} for {len(reference.images)} "
                "images; the first dimension has to be that of the images"
                + (f": choose another one by model.output=NAME ({listed(names)})" if len(names) > 1 else "")
            )
