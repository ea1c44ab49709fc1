"""What the wheel carries."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_every_config_group() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    expected = {f"conf/{path.name}" for path in (ROOT / "conf").iterdir() if path.name != "sweep"}
    assert set(included) == expected | {"sweeps"}
    assert included["sweeps"] == "mrecg/conf/sweep"
    assert all(target == f"mrecg/{source}" for source, target in included.items() if source != "sweeps")
