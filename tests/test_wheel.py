"""What the wheel carries."""

import re
import tomllib
from pathlib import Path

from mrecg.cli.doctor import OPTIONAL
from mrecg.config.explain import LAUNCHERS

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_every_config_group() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    expected = {f"conf/{path.name}" for path in (ROOT / "conf").iterdir() if path.name != "sweep"}
    assert set(included) == expected | {"sweeps"}
    assert included["sweeps"] == "mrecg/conf/sweep"
    assert all(target == f"mrecg/{source}" for source, target in included.items() if source != "sweeps")


def test_every_remedy_names_an_extra_that_is_there_and_every_extra_says_what_it_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"mrecg\[([a-z-]+)\]", text)}
    assert named and named <= extras
    assert set(OPTIONAL.values()) | set(LAUNCHERS.values()) <= extras
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for name in extras:
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{name} = [")]
        assert lines[at - 1].startswith("# ") and lines[at - 1].endswith("."), name
    everything = {word for name in extras - {"all", "dev"} for word in project["optional-dependencies"][name]}
    assert not {re.split("[<>=]", word)[0] for word in everything} & CORE
    (whole,) = project["optional-dependencies"]["all"]
    assert set(re.findall(r"[a-z-]+", whole)[1:]) == extras - {"all", "dev"}


CORE = {"torch", "torchvision", "hydra-core", "lightning", "wandb"}


def test_the_core_holds_no_package_of_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.split("[<>=]", word)[0] for word in project["dependencies"]}
    assert core >= CORE and not core & set(OPTIONAL)


def test_the_installation_page_lists_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "getting-started" / "install.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.M)) == set(extras)
