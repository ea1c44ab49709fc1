"""Make what the pages in docs/reference say of commands, settings, errors and files from the code.

``python docs/make_reference.py write`` fills every block of a page between ``<!-- reference NAME -->`` and
``<!-- end -->``, and ``check`` says whether that would change a page. The text around blocks is written by
hand. A key, column or file without a docstring is refused: the text belongs beside it in the code.
"""

import re
from argparse import Action, ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import get_annotations
from pathlib import Path
from typing import Any

import made
import yaml
from reference_text import attributes, code, columns, described, first, listed, sentence, stated, table, takes

from mrecg import errors
from mrecg.cli import dashboard, doctor, export, report, sweep
from mrecg.cli import help as helping
from mrecg.cli.main import VERBS
from mrecg.config.fields import about
from mrecg.config.paths import files
from mrecg.config.schema import RunConfig
from mrecg.config.validate import plain
from mrecg.data.preprocessing import Preprocessing
from mrecg.data.sampling import Draw
from mrecg.errors import Interrupted, MrecgError
from mrecg.graph.unit_facts import LayerFacts, UnitFacts
from mrecg.graph.unquantized import Unquantized
from mrecg.methods.hyperparameters import MethodSettings
from mrecg.methods.registry import METHODS
from mrecg.models.weights_record import Weights
from mrecg.pipeline import finishing, rebasis
from mrecg.planner.schedule import Criterion, Merge, Plan
from mrecg.planner.verdict import Verdict
from mrecg.planner.widths import LayerBits
from mrecg.quant import activation_ranges, clipping
from mrecg.reconstruct import events
from mrecg.reconstruct.activation_cache import CacheUse
from mrecg.runs import layout, summary_parts
from mrecg.runs.sensitivity import Sensitive, Sensitivity
from mrecg.runs.summary import RunSummary
from mrecg.system import machine, variables
from mrecg.track.csv_files import INDEX

PAGES = Path(__file__).with_name("reference")
BLOCK = re.compile(r"(<!-- reference ([^\n]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)

# Settings.

HYDRA = {
    "experiment": "Settings of several groups at once. What you set on the command line comes after them.",
    "sweep": "Sweeps that are ready to run, each over several keys. [Sweeps](../../sweeps/README.md) shows "
    "what they give.",
    "hydra/launcher": "What runs the jobs of a sweep. The default runs one job after another.",
    "hydra/sweeper": "What chooses the jobs of a sweep.",
}
"""Groups that set keys of others, and Hydra's own."""


def settings() -> str:
    """Every group with its choices and keys, and the keys of no group."""
    defaults = helping.defaults()
    parts: list[str] = []
    for part in fields(RunConfig):
        kind: Any = part.type
        if part.name == "method":
            parts += _methods()
        elif is_dataclass(kind):
            parts += [f"## {part.name}", first(kind), _choices(part.name)]
            parts.append(_table(_keys(kind, f"{part.name}.", defaults[part.name])))
    alone = [part.name for part in fields(RunConfig) if part.name in alone_keys()]
    parts += ["## Keys of no group", _table(_keys(RunConfig, "", defaults, alone))]
    for group, text in HYDRA.items():
        parts += [f"## {group}", text, _choices(group)]
    return "\n\n".join(filter(None, parts))


def alone_keys() -> list[str]:
    """The keys that belong to no group."""
    return [part.name for part in fields(RunConfig) if part.name != "method" and not is_dataclass(part.type)]


def _choices(group: str) -> str:
    rows = [(f"`{group}={name}`", sets(file, group)) for name, file in sorted(files(group).items())]
    return table(("choice", "what it sets"), rows) if rows else ""


def sets(file: Path, group: str) -> str:
    """The first sentence of a choice's comment; without one, the keys that it sets."""
    text = file.read_text(encoding="utf-8")
    comment = re.match(r"(?:# @package \S+\n)?((?:# [^\n]*\n)*)", text)
    said = " ".join(re.sub(r"^# ", "", comment[1] if comment else "", flags=re.MULTILINE).split())
    if said:
        first_one, *others = re.split(r"(?<=[^.]\.) (?=[A-Z])", said)
        return sentence(
            " ".join([first_one, *(one for one in others if one.startswith("Needs "))]), str(file)
        )
    values = yaml.safe_load(text)
    return ", ".join(f"`{group}.{key}={helping.written(value)}`" for key, value in values.items())


Row = tuple[str, str, str, str]


def _table(rows: Iterable[Row]) -> str:
    found = list(rows)
    return table(("key", "default", "values", "meaning"), found) if found else ""


def _keys(
    kind: Any, prefix: str, values: Mapping[str, Any], only: Sequence[str] | None = None
) -> Iterator[Row]:
    """The keys of a group, each with an anchor of its name that links can lead to."""
    for part in fields(kind):
        key, value = f"{prefix}{part.name}", values[part.name]
        if only is not None and part.name not in only:
            continue
        if is_dataclass(part.type):
            yield from _keys(part.type, f"{key}.", value)
            continue
        name, default = f'<a id="{key}"></a>`{key}`', f"`{helping.written(value)}`"
        yield name, default, takes(part.type), sentence(about(kind, part.name), key)


def _methods() -> Iterator[str]:
    """Methods; keys that several have stand once, below the class that declares them."""
    yield "## method"
    yield sentence(about(RunConfig, "method"), "method")
    yield _choices("method")
    kinds = {name: METHODS.get(name).settings for name in METHODS}
    shared = [base for kind in kinds.values() for base in reversed(kind.__mro__) if _own(base)]
    for base in dict.fromkeys(base for base in shared if base not in kinds.values()):
        yield f"### {_spaced(base)}"
        yield first(base) + _inherited(base)
        yield _table(_keys(base, "method.", plain(base()), _own(base)))
    for name, kind in kinds.items():
        yield f"### {name}"
        yield first(kind) + _inherited(kind)
        yield _table(_keys(kind, "method.", plain(kind()), _own(kind))).replace('"method.', f'"{name}.')


def _own(kind: type) -> list[str]:
    own = issubclass(kind, MethodSettings) and kind is not MethodSettings
    return [name for name in get_annotations(kind) if name != "name"] if own else []


def _inherited(kind: type) -> str:
    base = kind.__base__
    if base is None or base is MethodSettings:
        return "" if _own(kind) else " It has no keys of its own."
    name = next((name for name in METHODS if METHODS.get(name).settings is base), _spaced(base).lower())
    link = f"[{name}](#{name.replace(' ', '-')})"
    if kind not in (METHODS.get(each).settings for each in METHODS):
        return f" The keys of {link} come in addition."
    return f" It has the keys of {link}" + (
        ", and these in addition or with another default:" * bool(_own(kind)) or "."
    )


def _spaced(kind: type) -> str:
    """The name of a class as words: LearnedRounding becomes Learned rounding."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).capitalize()


# Commands.

PARSERS = {
    "report": report.parser,
    "sweep": sweep.parser,
    "dashboard": dashboard.parser,
    "doctor": doctor.parser,
}
"""Commands whose arguments argparse reads."""


def commands() -> str:
    """Every command: what it does, its arguments, examples."""
    return "\n\n".join(part for verb in VERBS for part in (f"## {verb}", *_command(verb)))


def _command(verb: str) -> Iterator[str]:
    if verb in PARSERS:
        yield from argparse_command(PARSERS[verb]())
        return
    if verb == "export":
        usage, said, _, examples = export.HELP.split("\n\n")
        texts = {**{f"{key}=": text for key, text in export.KEYS.items()}, "data=...": export.OTHER_IMAGES}
        yield sentence(said, verb)
        yield code(usage.removeprefix("usage: "))
        yield listed(texts, "argument")
        yield code(examples.removeprefix("Examples:\n"))
        return
    yield sentence(helping.DESCRIPTIONS[verb], verb)
    yield code(helping.usage(verb).removeprefix("usage: "))
    yield _settings_of(verb)
    yield code("\n".join(helping.EXAMPLES[verb]))


def _settings_of(verb: str) -> str:
    """Which settings have an effect on a command of Hydra's."""
    every = [part.name for part in fields(RunConfig)]
    without = [key for key in helping.WITHOUT[verb] if "." in key or verb not in helping.ONLY]
    said = "It takes all [settings](settings.md)."
    if verb in helping.ONLY:
        named = [name for name in every if helping.concerns(verb, name)]
        links = [f"[`{name}`](settings.md#{name})" for name in named]
        said = f"It takes these settings: {', '.join(links)}."
    return said + f" These have no effect: {', '.join(f'`{key}`' for key in without)}." * bool(without)


def argparse_command(parser: ArgumentParser) -> Iterator[str]:
    """Describe a command by what argparse knows of it."""
    yield sentence(parser.description or "", parser.prog)
    yield code(" ".join(parser.format_usage().removeprefix("usage: ").replace("[-h] ", "").split()))
    actions = [action for action in parser._actions if action.dest != "help"]
    rows = [
        (_name(action), sentence(action.help or "", f"{parser.prog} {action.dest}"))
        for action in actions
        if not isinstance(action.choices, dict)
    ]
    if rows:
        yield table(("argument", "meaning"), rows)
    if parser.epilog:
        yield code(parser.epilog.removeprefix("examples:\n"))
    for action in actions:
        for name, inner in action.choices.items() if isinstance(action.choices, dict) else ():
            yield f"### {parser.prog.removeprefix('mrecg ')} {name}"
            yield from argparse_command(inner)


def _name(action: Action) -> str:
    value = str(action.metavar or "|".join(action.choices or ()) or action.dest.upper())
    if not action.option_strings:
        return f"`{value}`"
    value = f" [{value}]" if action.nargs == "?" else f" {value}" if action.nargs != 0 else ""
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


# Errors.


def error_classes() -> list[type[MrecgError | Interrupted]]:
    """The classes of mrecg.errors, in its order."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, MrecgError | Interrupted)]


def _errors() -> str:
    rows = [
        (f"`{kind.__name__}`", str(kind.exit_code), f"`{kind.__bases__[0].__name__}`", first(kind))
        for kind in error_classes()
    ]
    return table(("class", "exit code", "is a", "when it is raised"), rows)


def _variables() -> str:
    texts = stated(variables)
    own = {value: texts[name] for name, value in vars(variables).items() if name in texts}
    return listed({value: text for value, text in own.items() if value.isupper()}, "variable")


# Run folders.

RUN = (
    *("CONFIG", "ENVIRONMENT", "WEIGHTS_ORIGIN", "IMAGES", "PLAN", "UNITS", "CURVES", "FINISHING"),
    *("DECISIONS", "WEIGHTS", "SUMMARY", "PAGE", "LOG", "WANDB", "HYDRA", "LOCK", "CHECKPOINT"),
)
SWEEP = ("MANIFEST", "PAGE", "SWEEP_LOCK", "MULTIRUN", "JOURNAL", "WANDB")
OTHERS = (
    *("PLAN_PICTURES", "SENSITIVITY", "SENSITIVITY_TABLE", "SENSITIVITY_PICTURES", "EVALUATION"),
    *("EXPORTED", "EXPORTS", "DASHBOARD"),
)
"""Constants of `mrecg.runs.layout`: files of a run folder, of a sweep's folder, of other commands."""


def names_of(constant: str) -> list[str]:
    """The names of the files that a constant of mrecg.runs.layout holds."""
    value = getattr(layout, constant)
    if isinstance(value, str):
        return [value]
    return [*(value.values() if isinstance(value, dict) else value)]


def _files(constants: Iterable[str]) -> str:
    texts = stated(layout)
    rows = [
        (", ".join(f"`{name}`" for name in names_of(constant)), sentence(texts[constant], constant))
        for constant in constants
    ]
    return table(("file", "content"), rows)


RECORDS: tuple[type, ...] = (
    *(RunSummary, summary_parts.Bits, summary_parts.Accuracy, summary_parts.ToFullPrecision),
    *(summary_parts.Oscillation, summary_parts.UnitResult, summary_parts.GroupSummary),
    *(CacheUse, Unquantized, Preprocessing, Plan, Merge, Criterion, UnitFacts, LayerFacts, Verdict),
    *(LayerBits, Draw, Sensitivity, Sensitive),
)


def _record(kind: type) -> Callable[[], str]:
    return lambda: described(kind, {"task": "pass"} if kind is summary_parts.GroupSummary else {})


_UNIT = {INDEX: "The place of the unit in the network's order, from 0."}
BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "errors": _errors,
    "variables": _variables,
    "files of a run": lambda: _files(RUN),
    "files of a sweep": lambda: _files(SWEEP),
    "files of other commands": lambda: _files(OTHERS),
    **{kind.__name__: _record(kind) for kind in RECORDS},
    "Weights": lambda: listed({**attributes(Weights), "renamed": str(Weights.renamed.__doc__)}),
    "units.csv": lambda: columns(events.UnitResult, _UNIT),
    "curves": lambda: columns(events.CurvePoint, {}),
    "finishing.csv": lambda: columns(events.FinishPoint, {}),
    "decisions.csv": lambda: listed(layout.DECISION_COLUMNS, "column"),
    "environment.json": lambda: listed(machine.FACTS),
    "finish": lambda: listed(finishing.RECORD),
    "rebasis": lambda: listed(rebasis.RECORD),
    "weight_ranges": lambda: listed(clipping.RANGES),
    "activation_ranges": lambda: listed(activation_ranges.RANGES),
}


def page(file: Path) -> str:
    """A page as the code says."""

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}"

    return BLOCK.sub(block, file.read_text(encoding="utf-8"))


def pages() -> list[Path]:
    """The pages that have blocks."""
    return [file for file in sorted(PAGES.glob("*.md")) if BLOCK.search(file.read_text(encoding="utf-8"))]


def write() -> None:
    """Write the pages."""
    for file in pages():
        file.write_text(page(file), encoding="utf-8")


def check() -> None:
    """Refuse a page that `write` would change."""
    made.refuse_changed(pages(), page, "the code says; run python docs/make_reference.py write")


if __name__ == "__main__":
    made.run({"write": write, "check": check})
