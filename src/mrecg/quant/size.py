"""Size of a quantized network in bits."""

from mrecg.quant.quantized_network import QuantizedNetwork


def quantized_bytes(network: QuantizedNetwork) -> dict[str, int]:
    """Size of a network by its bits alone, without names and headers.

    Returns:
        ``fp`` and ``quantized``: bytes of all parameters with BatchNorm folded, in float32; and with integers
        and zero points at their bits, in whole bytes per tensor, and all else, scales among it, in float32.
    """
    full = quantized = 0
    widths = widths_of(network)
    for name, value in network.state().items():
        bits = widths.get(name, 32)
        quantized += (value.numel() * bits + 7) // 8
        # A scale is not a parameter of the full-precision network, nor a zero point.
        owner, _, leaf = name.rpartition(".")
        of_grid = leaf in ("scale", "zero_point") and f"{owner}.zero_point" in widths
        full += 0 if of_grid else 4 * value.numel()
    return {"fp": full, "quantized": quantized}


def widths_of(network: QuantizedNetwork) -> dict[str, int]:
    """Find the bits of the tensors that hold whole numbers.

    Returns:
        Bits by the tensors' names in the state.
    """
    widths: dict[str, int] = {}
    for path, bits in network.policy.layers.items():
        widths |= {f"{path}.integers": bits, f"{path}.zero_point": bits}
    for name, bits in network.policy.activations.items():
        widths[f"activation_quantizers.{name}.zero_point"] = bits
    return widths
