import pytest
from hydra.errors import MissingConfigException

from mrecg.config.explain import LAUNCHERS, explain
from mrecg.config.paths import CONF


@pytest.mark.parametrize(("launcher", "extra"), LAUNCHERS.items())
def test_a_launcher_whose_package_is_missing_names_the_extra(launcher: str, extra: str) -> None:
    presets = (CONF / "hydra" / "launcher").glob("*.yaml")
    name = next(path.stem for path in presets if f"- {launcher}\n" in path.read_text())
    text = f"In 'hydra/launcher/{name}': Could not find 'hydra/launcher/{launcher}'\n\nAvailable: basic"
    said = explain(MissingConfigException(text, launcher), ["seed=1", f"hydra/launcher={name}"])
    assert said == f"hydra/launcher={name}: its package is not installed; pip install 'mrecg[{extra}]'"


def test_a_launcher_that_nobody_has_is_no_choice() -> None:
    said = explain(MissingConfigException("Could not find 'hydra/launcher/no'", "no"), [])
    assert "'no' is not a choice" in said and "pip" not in said
