"""A graph whose units stand one after the other, and where those with several outputs end."""

from torch import fx

from mrecg.graph.structure import OUTPUTS, Structure

ASIDE = "aside"
"""Key in the ``meta`` of nodes from which nothing but outputs that are no real numbers follow."""
END = "end"
"""Key in the ``meta`` of nodes where a branch of a graph with several outputs ends."""


def structure_in(traced: fx.GraphModule) -> Structure | None:
    """How the outputs of a traced graph are put together; None for one tensor alone."""
    found: Structure | None = traced.meta.get(OUTPUTS)
    return found


def outputs_in(graph: fx.Graph) -> tuple[fx.Node, ...]:
    """List the nodes whose values a traced graph returns, in the order of their names."""
    end = next(node for node in graph.nodes if node.op == "output")
    given = end.args[0]
    return (given,) if isinstance(given, fx.Node) else tuple(given)


def ends_in(graph: fx.Graph) -> set[fx.Node]:
    """Collect the nodes where a unit has to end: those of the outputs, as far as they are real numbers."""
    return {node for node in graph.nodes if END in node.meta} or set(outputs_in(graph))


def several_ends(graph: fx.Graph) -> bool:
    """Return whether several values are outputs that quantizing can change, so the last unit has not all."""
    return sum(node.op.startswith("call_") for node in ends_in(graph)) > 1


def chained(graph: fx.Graph) -> list[fx.Node]:
    """List the nodes that units are made of: all but constants and what only leads to class indices."""
    return [node for node in graph.nodes if node.op not in ("get_attr", "output") and ASIDE not in node.meta]


def last_reads(nodes: list[fx.Node]) -> dict[fx.Node, int]:
    """Tell when each value is read for the last time by an operation; -1: never, it is an output at most."""
    position = {node: i for i, node in enumerate(nodes)}
    return {node: max((position.get(user, -1) for user in node.users), default=-1) for node in nodes}
