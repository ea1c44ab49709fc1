"""Where the config files are: inside an installed package, or at the top of a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(
    path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if (path / "config.yaml").is_file()
)
"""The folder of Hydra's groups."""
