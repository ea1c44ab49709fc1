"""Every command that the documents show is one that `mrecg` takes; the short ones are really run."""

import copy
import io
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from mrecg.cli import export, report, sweep
from mrecg.cli.dashboard import _parser as dashboard_parser
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
    for found in re.finditer(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start(3)) + 1, found[2], found[3]


def pieces(line: str, variables: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The commands of one line: what ``&&``, ``;``, pipes and redirections divide, without comments."""
    for name, value in variables.items():
        line = re.sub(rf"\$\{{?{name}\b\}}?", lambda _, value=value: value, line)
    line = re.sub(r"\$\{?\w+\}?", "x", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    skip = False
    for token in [*lexer, ";"]:
        if token[0] in "&;|":
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)  # a variable of the environment
            if words:
                yield line, words
            words, skip = [], False
        elif token[0] in "<>":
            skip = True
        elif skip:
            skip = False
        else:
            words.append(token)


def commands(page: Path) -> Iterator[Command]:
    """All commands of a page, in its blocks and in its sentences."""
    text, name = page.read_text(), page.relative_to(ROOT).as_posix()
    for number, language, block in fences(text):
        variables: dict[str, str] = {}
        lines = re.sub(r"\\\n", lambda found: " " * 2 + "\x00", block).split("\n") if language in SHELLS else ()
        for line in lines:
            here, number = number, number + 1 + line.count("\x00")
            line = line.replace("\x00", "").removeprefix("$ ")
            if assigned := re.fullmatch(r"([A-Z]+)=('[^']*'|\"[^\"]*\"|\S+)\s*(?:#.*)?", line):
                variables[assigned[1]] = assigned[2].strip("'\"")
            elif language or line.lstrip().startswith("mrecg "):
                for whole, (program, *words) in pieces(line, variables):
                    yield Command(f"{name}:{here}", whole, program, filled(words, printed=True), True)
    blank = re.sub(r"^( *)```.*?^\1```", lambda found: re.sub(r"[^\n]", " ", found[0]), text, flags=re.S | re.M)
    for found in re.finditer(r"(?<!`)`(mrecg [^`]+)`(?!`)", blank):
        line = found[1].replace("\n", " ").replace("\\|", "|")
        line = re.sub(r"<(\w+)>", r"\1", line.replace("`", ""))
        synopsis = re.sub(r" \[(--?[^\]]*)\]", r" \1", re.sub(r" \[(--?[^\]\[]*)(?: \[[^\]]*\])?\]", r" \1", line))
        synopsis = re.sub(r"\[(\w+)\]$", r"\1", re.sub(r"(\w+)(?:\|\w+)+", r"\1", synopsis))
        for _, (program, *words) in pieces(synopsis, {}):
            here = blank.count("\n", 0, found.start()) + 1
            yield Command(f"{name}:{here}", line, program, filled(words, printed=False), False)


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
        elif word != "..." and not (not printed and re.fullmatch(r"[A-Z]{4,}", word) and "=" in " ".join(words)):
            made.append(word.removesuffix("..."))
    return tuple(made)


@lru_cache(maxsize=None)
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
                return parsed(verb, [*rest, *left_out])
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
        (dashboard_parser if verb == "dashboard" else report._parser)().parse_args(plain_words(words))


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
        patched.setattr(hydra_compose, "MAX_CORNERS", 4)
        patched.setattr(FileConfigSource, "load_config", load_config)
        yield


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
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
