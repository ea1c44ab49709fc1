"""What every cut of every network must hold."""

from torch import fx

from mrecg.graph.ops import is_weight_layer
from mrecg.graph.partition import Unit


def check_contract(traced: fx.GraphModule, units: tuple[Unit, ...]) -> None:
    """Check that nothing is lost or doubled, and that one tensor enters and one leaves each unit."""
    nodes = {node.name: node for node in traced.graph.nodes}
    # Every weight layer, and every other node, is in exactly one unit, in order.
    layers = [layer for unit in units for layer in unit.layers]
    assert layers == [str(node.target) for node in nodes.values() if is_weight_layer(node)]
    assert len(set(layers)) == len(layers)
    inside = [name for unit in units for name in unit.nodes]
    assert inside == [n.name for n in nodes.values() if n.op not in ("placeholder", "output", "get_attr")]
    assert len({unit.name for unit in units}) == len(units)
    # Inputs chain up, and nothing crosses a border but the one tensor.
    assert nodes[units[0].input].op == "placeholder"
    assert [unit.input for unit in units[1:]] == [unit.output for unit in units[:-1]]
    (result,) = next(node for node in nodes.values() if node.op == "output").all_input_nodes
    assert units[-1].output == result.name
    for unit in units:
        assert unit.layers and unit.output == unit.nodes[-1]
        known = {unit.input, *unit.nodes}
        for name in unit.nodes:
            sources = [source for source in nodes[name].all_input_nodes if source.op != "get_attr"]
            assert {source.name for source in sources} <= known
