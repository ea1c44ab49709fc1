"""Values that configuration files compute: `${bit_widths:}` in the name of a run."""

from omegaconf import DictConfig, OmegaConf

from mrecg.config.bit_keys import widths_in_names


def register_resolvers() -> None:
    """Give OmegaConf the functions that conf/config.yaml uses."""
    OmegaConf.register_new_resolver("bit_widths", _bit_widths, replace=True)


def _bit_widths(*, _root_: DictConfig) -> str:
    bits = _root_.bits  # a budget without a value yet has an error of its own
    return widths_in_names(bits.weight, bits.activation, OmegaConf.select(bits, "budget"))
