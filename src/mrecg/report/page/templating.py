"""The templates, styles and scripts that pages are made of."""

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def template(name: str) -> Template:
    """Read a template; every value that it shows is escaped.

    Args:
        name: Its file in ``templates/``.
    """
    environment = Environment(
        loader=PackageLoader("mrecg.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def asset(name: str) -> str:
    """Read a style or a script.

    Args:
        name: Its file in ``templates/``.

    Returns:
        Its text.
    """
    return resources.files("mrecg.report.page").joinpath("templates", name).read_text(encoding="utf-8")
