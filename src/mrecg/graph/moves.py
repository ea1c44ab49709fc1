"""Operations that only move values: what they give stands on the grid that they were given.

A quantizer may stand before or after such an operation. An operation that is missing from the lists costs
nothing but that choice: the quantizer stands after it, where it is always right.
"""

from torch import fx, nn

from mrecg.graph.ops import is_number, module_of, operation
from mrecg.graph.same_padding import SamePad2d

_MODULES = (
    nn.Flatten,
    nn.Unflatten,
    nn.Unfold,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.UpsamplingNearest2d,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
    nn.modules.padding._CircularPadNd,
    SamePad2d,
)
_NAMES = {
    "view", "_unsafe_view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "squeeze",
    "unsqueeze", "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint",
    "contiguous", "clone", "detach", "alias", "expand", "expand_as", "broadcast_to", "repeat", "tile",
    "repeat_interleave", "flip", "fliplr", "flipud", "rot90", "roll", "narrow", "select", "index_select",
    "slice", "getitem", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unfold",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "max_pool1d",
    "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "amax",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "float", "double",
    "to", "type_as", "_to_copy",
}  # fmt: skip
_NEAREST = ("nearest", "nearest-exact")


def value_inputs(node: fx.Node) -> list[fx.Node]:
    """List the values that a node computes with: no parameters, constants and sizes.

    Returns:
        Its sources in order, each once.
    """
    return [source for source in node.all_input_nodes if source.op != "get_attr" and not is_number(source)]


def moves(node: fx.Node) -> bool:
    """Return whether a node gives nothing but values of its one input, and zeros.

    Returns:
        True for shapes, slices, shuffles, casts, paddings with zero, maxima and nearest neighbours.
    """
    read = [source for source in node.all_input_nodes if not is_number(source)]
    if not read or value_inputs(node) != read[:1]:  # or it gives a constant that takes over a value's shape
        return False
    module, name = module_of(node), operation(node)
    if isinstance(module, nn.modules.padding._ConstantPadNd):
        return float(module.value) == 0
    if isinstance(module, nn.Upsample):
        return str(module.mode) in _NEAREST
    if name in ("pad", "constant_pad_nd"):
        return _pads_with_zero(node, name)
    if name == "interpolate":
        mode = node.args[3] if len(node.args) > 3 else node.kwargs.get("mode", "nearest")
        return mode in _NEAREST
    return isinstance(module, _MODULES) or name in _NAMES


def _pads_with_zero(node: fx.Node, name: str) -> bool:
    order = ("input", "pad", "mode", "value") if name == "pad" else ("input", "pad", "value")
    given = dict(zip(order, node.args, strict=False)) | dict(node.kwargs)
    return bool(given.get("mode", "constant") != "constant" or not given.get("value"))


def averages_all(node: fx.Node) -> bool:
    """Return whether a node averages over all positions of an image, as in front of most classifiers.

    Returns:
        True for ``mean`` over dimensions and for adaptive average pooling to one value.
    """
    if len(value_inputs(node)) != 1:
        return False
    module, name = module_of(node), operation(node)
    size: object = None
    if isinstance(module, nn.modules.pooling._AdaptiveAvgPoolNd):
        size = module.output_size
    elif name.startswith("adaptive_avg_pool"):
        size = node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size")
    ones = size if isinstance(size, list | tuple) else [size]
    return name == "mean" or all(one == 1 for one in ones)
