"""Every command that the documents show is one that `mrecg` takes; the short ones are really run."""

import copy
import io
import itertools
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mrecg.cli import dashboard, export, report, sweep
from mrecg.cli.main import VERBS, main
from mrecg.cli.words import Words, key_words, plain_words
from mrecg.config import hydra_compose
from mrecg.config.paths import CONF
from mrecg.config.schema import RunConfig
from mrecg.config.validate import require_calibration
from mrecg.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "sweeps/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
FIRST = ("README", "docs/getting-started")
"""Pages that the fast tests check: Hydra takes a third of a second for each command."""
SHELLS = ("", "sh", "bash", "shell", "console")
HYDRA = ("quantize", "plan", "sensitivity", "evaluate")
PARSED = ("export", "report", "dashboard", "sweep", "doctor")
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}
OF_A_PLUGIN = re.compile(r"two_pass|planner=weights|data=noise|format=state")
"""Names that docs/plugin registers; tests/cli/test_extending.py runs what uses them."""
PLACE = re.compile(r"(path|folder|dir|run|checkpoint|dataset|target|sha256)$")
"""Keys whose value is a place, for which any name will do; of others a placeholder is left out."""
OPEN = re.compile(r"[\[{(]")
"""What a shell or its globbing would take for itself outside of quotes."""


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        words: Without the program; as a shell would split them, with placeholders filled.
        printed: Whether it stands in a block, where it can be pasted; otherwise it is a part of a sentence.
    """

    place: str
    text: str
    program: str
    words: tuple[str, ...]
    printed: bool


def fences(text: str) -> Iterator[tuple[int, str, str]]:
    """The first line, the language and the content of each block."""
    for found in FENCE.finditer(text):
        yield text.count("\n", 0, found.start(3)) + 1, found[2], found[3]


def pieces(line: str, variables: dict[str, str]) -> Iterator[list[str]]:
    """The commands of one line: what ``&&``, ``;``, pipes and redirections divide, without comments."""
    line = re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], "x"), line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    skip = False
    for token in [*lexer, ";"]:
        if token[0] in "&;|":
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)  # a variable of the environment
            if words:
                yield words
            words, skip = [], False
        elif token[0] in "<>" or skip:
            skip = not skip
        else:
            words.append(token)


def commands(page: Path) -> Iterator[Command]:
    """All commands of a page, in its blocks and in its sentences."""
    text, name = page.read_text(), page.relative_to(ROOT).as_posix()
    for first, language, block in fences(text):
        variables: dict[str, str] = {}
        shell = block if language in SHELLS else ""
        for number, line in whole_lines(shell, first):
            if assigned := re.fullmatch(r"([A-Z0-9]+)=('[^']*'|\"[^\"]*\"|\S+)\s*(?:#.*)?", line):
                variables[assigned[1]] = assigned[2].strip("'\"")
            elif language or line.lstrip().startswith("mrecg "):
                for program, *words in pieces(line, variables):
                    yield Command(f"{name}:{number}", line, program, filled(words, printed=True), True)
    prose = FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for found in re.finditer(r"(?<!`)`(mrecg [^`]+)`(?!`)", prose):
        number, line = prose.count("\n", 0, found.start()) + 1, " ".join(found[1].split())
        for program, *words in pieces(of_synopsis(line), {}):
            yield Command(f"{name}:{number}", line, program, filled(words, printed=False), False)


def whole_lines(block: str, first: int) -> Iterator[tuple[int, str]]:
    """The lines of a block with their numbers; those that a backslash continues are one."""
    kept, begun = "", first
    for number, line in enumerate(block.split("\n"), first):
        begun = begun if kept else number
        kept += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield begun, kept.removeprefix("$ ")
            kept = ""


def of_synopsis(line: str) -> str:
    """A command with what is optional, the first of its alternatives, and names in place of ``<name>``."""
    line = re.sub(r"<(\w+)>", r"\1", line.replace("\\|", "|"))
    while (shorter := re.sub(r" \[(--?[^\[\]]*|\w+)\]", r" \1", line)) != line:
        line = shorter
    return re.sub(r"(\w+)(?:\|\w+)+", r"\1", line)


def filled(words: Sequence[str], *, printed: bool) -> tuple[str, ...]:
    """The words with placeholders filled, or left out where anything could stand."""
    made = []
    for word in words:
        key, is_key, value = word.partition("=")
        if key == "format" and re.fullmatch(r"[A-Z]+", value):
            made.append("format=onnx")
        elif is_key and re.fullmatch(r"\.\.\.|[A-Z_]+", value):
            if PLACE.search(key):
                made.append(f"{key}=x")
        elif word != "..." and not (
            not printed and re.fullmatch(r"[A-Z]{4,}", word) and "=" in " ".join(words)
        ):
            made.append(word.removesuffix("..."))
    return tuple(made)


@cache
def composed(words: tuple[str, ...]) -> tuple[RunConfig, ...]:
    """What Hydra makes of a command of its kind, after all checks that need no folder."""
    verb, *rest = words
    rest = [word for word in key_words(rest, folder=verb == "evaluate") if not word.startswith("resume=")]
    configs = hydra_compose.check(rest).configs
    for config in configs if verb != "evaluate" else ():
        require_calibration(config.data)
    return configs


def check(command: Command, own: Path) -> None:
    """Parse a command of `mrecg` as its program would.

    Args:
        own: A folder of configurations, for the placeholder after ``-cd``.

    Raises:
        ConfigError: It is wrong.
    """
    verb, *rest = command.words or ("--help",)
    if not command.printed and verb in PARSED and len(command.words) < 4:
        for left_out in ([], ["x"], ["x", "x"]):
            with suppress(ConfigError):
                parsed(verb, [*rest, *left_out])
                return
    if "--help" in command.words or verb in ("--version", "help"):
        with redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as ended:
            main([word for word in command.words if not word.isupper()])
        if ended.value.code:
            raise ConfigError(f"exit code {ended.value.code}")
        return
    if verb.startswith("-sc") or verb.isupper():
        return
    if verb not in VERBS:
        raise ConfigError(f"{verb}: no command")
    if verb in HYDRA:
        if command.printed:
            for word in re.sub(r"'[^']*'|\"[^\"]*\"", "", command.text.split(" #")[0]).split():
                if "=" in word and OPEN.search(word):
                    raise ConfigError(f"{word}: has brackets outside of quotes")
        words = list(command.words)
        for flag in {"-cd", "--config-dir"}.intersection(words):
            words[words.index(flag) + 1] = str(own)
        composed(tuple(words))
    else:
        parsed(verb, rest)


def parsed(verb: str, words: Sequence[str]) -> None:
    """Read the arguments of a command that does not take Hydra's.

    Raises:
        ConfigError: They are wrong.
    """
    if verb == "export":
        named = [word for word in plain_words(words) if not word.startswith("--allow")]
        _, values, _ = export._parsed(named if "format" in " ".join(named) else [*named, "format=onnx"])
        export._forms(values)
    elif verb == "sweep":
        with pytest.raises(DataError):  # there is no sweep in the folder, which is looked for at last
            sweep.main(words)
    elif verb == "doctor":
        Words(prog="mrecg doctor").parse_args(words)
    else:
        (dashboard if verb == "dashboard" else report).parser().parse_args(plain_words(words))


def others(command: Command) -> str | None:
    """What is wrong with a command of another program, as far as the repository can tell."""
    words = command.words
    if command.program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return next((f"no target {word}" for word in words if "=" not in word and word not in targets), None)
    if command.program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = re.findall(r"(?:mrecg|^\.)\[([\w,-]+)\]", " ".join(words[1:]), re.MULTILINE)
        unknown = {name for found in asked for name in found.split(",")} - set(extras)
        return f"no extra {unknown}" if unknown else None
    if command.program == "python" and words[:1] not in ((), ("-c",)):
        path = words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0]
        inside = path.startswith(("benchmarks", "docs", "tests", "src")) or path.endswith(".py")
        return f"no {path}" if inside and not (ROOT / path).exists() else None
    return None


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of configurations as the pages describe one."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 3\n")
    return folder


def one_at_a_time(*axes: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The first combination, and each other value with the first ones of all other axes."""
    first = tuple(axis[0] for axis in axes)
    yield first
    for place, axis in enumerate(axes):
        yield from ((*first[:place], value, *first[place + 1 :]) for value in axis[1:])


@pytest.fixture(scope="module", autouse=True)
def quick_composing() -> Iterator[None]:
    """Read each YAML file once: most of Hydra's time goes there."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource

    real: Callable[..., Any] = FileConfigSource.load_config
    kept: dict[tuple[str, str], Any] = {}

    def load_config(source: Any, config_path: str) -> Any:
        key = (source.path, config_path)
        if key not in kept:
            kept[key] = real(source, config_path)
        return copy.deepcopy(kept[key])

    with pytest.MonkeyPatch.context() as patched:
        few = SimpleNamespace(islice=itertools.islice, product=one_at_a_time)
        patched.setattr(hydra_compose, "itertools", few)
        patched.setattr(FileConfigSource, "load_config", load_config)
        yield


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[pytest.mark.slow] * (not name.startswith(FIRST)))
        for page in PAGES
        for name in [page.relative_to(ROOT).as_posix()]
    ],
)
def test_every_command_is_one(page: Path, own: Path) -> None:
    wrong = []
    for command in commands(page):
        if OF_A_PLUGIN.search(command.text):
            continue
        said = None
        try:
            if command.program == "mrecg":
                check(command, own)
            else:
                said = others(command)
        except ConfigError as error:
            said = str(error)
        if said is not None:
            wrong.append(f"{command.place}: {command.text.strip()}\n    {said}")
    assert not wrong, "\n".join(wrong)


SMALL = [
    *("trainer.steps=2", "trainer.batch_size=4", "planner.probe_steps=0", "finish.steps=2", "pictures=false"),
    *("data.calibration_images=32", "data.evaluation_images=32", "calibration.candidates=4"),
    *("calibration.bins=64", "trainer.threads=1", "logger=csv"),
]
"""Settings with which a run on the embedded network takes seconds."""
LONG = re.compile(
    r"model(\.\w+)?=(?!embedded)|data=(?!digits)|data\.\w+_path|sweep=|-m$|resume=|-cd|hydra|_paper|--"
)
"""What makes a command more than one short run on the embedded network."""


def short_ones() -> list[tuple[str, ...]]:
    """Different commands of all pages that run on the embedded network alone."""
    found = dict.fromkeys(
        command.words
        for page in PAGES
        for command in commands(page)
        if command.program == "mrecg" and not OF_A_PLUGIN.search(command.text)
        if command.words[:1] in (("quantize",), ("plan",), ("sensitivity",))
        if not any(LONG.match(word) for word in command.words[1:])
    )
    return list(found)


def call(words: Sequence[str]) -> None:
    """Run a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code, words


@pytest.mark.slow
@pytest.mark.parametrize("words", short_ones(), ids=" ".join)
def test_short_commands_run(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {word.split("=")[0] for word in words}
    rest = [word for word in SMALL if word.split("=")[0] not in given - {"logger", "trainer.steps"}]
    rest = [word for word in rest if not word.startswith("finish.") or "quantize" in words]
    call([*(word for word in words if not word.startswith("logger=")), *rest, "hydra.run.dir=run"])
    assert (tmp_path / "run" / "config.yaml").is_file() or words[0] != "quantize"


@pytest.mark.slow
def test_commands_on_a_run_folder_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call(["quantize", "method=rtn", "granularity=block", *SMALL[5:], "hydra.run.dir=run"])
    found = {
        command.words
        for page in PAGES
        for command in commands(page)
        if command.program == "mrecg" and command.printed and not OF_A_PLUGIN.search(command.text)
        if command.words[:1] in (("export",), ("report",)) and "docs/" not in command.text
    }
    assert len(found) > 5
    for words in sorted(found):
        folder = {word for word in words[1:2] if not word.endswith(".json")}
        filled_in = ["run" if word in folder else word for word in words if not word.startswith("images=")]
        call([*filled_in, *(["images=8"] if words[0] == "export" else [])])
