import pytest
from hydra.errors import MissingConfigException

from mrecg.config.explain import LAUNCHERS, explain
from mrecg.config.paths import CONF


@pytest.mark.parametrize(("launcher", "extra"), LAUNCHERS.items())
def test_a_launcher_whose_package_is_missing_names_the_extra(launcher: str, extra: str) -> None:
    ours = [
        path for path in (CONF / "hydra" / "launcher").glob("*.yaml") if f"- {launcher}\n" in path.read_text()
    ]
    assert ours  # it is one that a preset of ours is made of
    text = f"In 'hydra/launcher/{ours[0].stem}': Could not find 'hydra/launcher/{launcher}'\n\nAvailable options: basic"
    said = explain(MissingConfigException(text, launcher), ["seed=1", f"hydra/launcher={ours[0].stem}"])
    assert (
        said == f"hydra/launcher={ours[0].stem}: its package is not installed; pip install 'mrecg[{extra}]'"
    )
    assert "choose from" in explain(MissingConfigException("Could not find 'hydra/launcher/no'", "no"), [])
