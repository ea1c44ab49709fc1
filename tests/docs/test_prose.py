"""Documents and help texts are spelt right, use the glossary of CONTRIBUTING.md, and have short lines."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

import mrecg.config
from mrecg.config.fields import about

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "sweeps").glob("*.md"),
    )
)
LONGEST = 100
GENERATED = re.compile(r"<!-- (?!end)[^\n]*? -->\n(?:(?!<!--).)*<!-- end[^\n]*? -->", re.DOTALL)
"""Blocks that docs/make_results.py, docs/make_reference.py, benchmarks.gpu.pages and their like write."""
WHOLE = ("docs/reference/models.md", "docs/results/benchmarks.md")
"""Pages that docs/make_models.py and benchmarks.report write as a whole; their long lines are not typed."""
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2`*~*$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", re.DOTALL)
TARGET = re.compile(r"\]\([^)]*\)")
TIMES = r"(?:steps?|pass(?:es)?|runs?|jobs?|images?|products?|lines?|files?|seconds|minutes|hours|ms|MB)"
WHOLES = r"(?:unit|group|layer|block|run|job|step|batch|chunk|node|launch|minute|processor|core|GPU|CPU core)"
RATE = re.compile(
    rf"\b{TIMES} an? {WHOLES}s?\b(?! (?:of|in|is|has|takes))|\bone an? {WHOLES}\b", re.IGNORECASE
)
""" "100 steps a unit": the article does not say "per" to every reader."""


def blank(found: re.Match[str]) -> str:
    """As many lines with nothing on them, so that the numbers of lines stay."""
    return "\n" * found[0].count("\n")


def prose(text: str) -> str:
    """A page without code, generated blocks, HTML comments and targets of links, in the same lines."""
    for part in (GENERATED, FENCE, re.compile(r"<!--.*?-->", re.DOTALL), SPAN, TARGET):
        text = part.sub(blank, text)
    return text


def refused(contributing: str) -> dict[str, str]:
    """What to say instead of each phrase in the right column of the glossary."""
    table = contributing.partition("| say | not |\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]
    return {phrase: say for say, other in rows for phrase in re.findall(r"`([^`]+)`", other)}


GLOSSARY = refused((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
PHRASES = {
    say: re.compile(rf"\b{re.escape(say)}\b".replace(r"\ ", r"\s+"), re.I)
    for say in GLOSSARY
    if not RATE.search(say)
}


def wrong_words(text: str) -> Iterator[str]:
    """Name every phrase of a prose text that the glossary refuses, with its line."""
    for phrase, pattern in PHRASES.items():
        for found in pattern.finditer(text):
            yield f"line {text.count(chr(10), 0, found.start()) + 1}: {phrase!r}; say {GLOSSARY[phrase]}"
    for found in RATE.finditer(text):
        yield f"line {text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}; say per"


def long_lines(text: str) -> Iterator[str]:
    """Name lines beyond the limit, without tables, pictures, code, generated blocks and targets of links."""
    text = FENCE.sub(blank, GENERATED.sub(blank, text))
    for number, line in enumerate(text.splitlines(), 1):
        bare = TARGET.sub("]()", line)
        whole = bare.lstrip("-*> ")  # one word, one code span or one link cannot be broken
        single = " " not in whole or re.fullmatch(r"`[^`]*`\S*", whole)
        # Tables are lines by nature, headings too, and so is a picture with the text that stands for it.
        if len(bare) > LONGEST and not single and not line.lstrip().startswith(("|", "#", "![", "<")):
            yield f"line {number}: {len(bare)} characters"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_says_what_the_glossary_says(page: Path) -> None:
    assert list(wrong_words(prose(page.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) not in WHOLE], ids=name)
def test_lines_of_a_page_are_short(page: Path) -> None:
    assert list(long_lines(page.read_text(encoding="utf-8"))) == []


def help_texts() -> dict[str, str]:
    """The text of every key of the schema, as --help shows it, by class and field."""
    found = {}
    modules = [import_module(f"mrecg.config.{module.name}") for module in iter_modules(mrecg.config.__path__)]
    modules.append(import_module("mrecg.methods.registry"))
    for module in modules:
        kinds: list[Any] = [kind for kind in vars(module).values() if isinstance(kind, type)]
        for kind in filter(is_dataclass, kinds):
            for field in fields(kind):
                if text := about(kind, field.name):
                    found[f"{kind.__name__}.{field.name}"] = text
    return found


def test_help_texts_say_what_the_glossary_says() -> None:
    texts = help_texts()
    assert len(texts) > 100 and "seed" in texts["RunConfig.seed"]
    wrong = {key: list(wrong_words(text)) for key, text in texts.items()}
    assert {key: words for key, words in wrong.items() if words} == {}


def test_everything_is_spelt_right(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codespell_lib = import_module("codespell_lib")
    monkeypatch.chdir(ROOT)  # where pyproject.toml has the words to ignore
    read = ["src", "conf", "sweeps", "benchmarks", "docs", ".github", "pyproject.toml", "Makefile"]
    mistakes = codespell_lib.main(*read, *(page.name for page in ROOT.glob("*.md")))
    assert mistakes == 0, capfd.readouterr().out


def test_the_glossary_is_read() -> None:
    assert GLOSSARY["behind the"].startswith("after, before") and GLOSSARY["verb"] == "command"
    assert {"in front of", "goes on", "anew", "likewise", "wants", "somebody", "says so"} <= set(GLOSSARY)
    assert all(len(list(wrong_words(f"Where {phrase} stands."))) == 1 for phrase in GLOSSARY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The error behind\nthe unit.", 1),
        ("A run may be behind another one in accuracy.", 0),
        ("It goes\non there, and so do others.", 1),
        ("The layer Wants two.", 1),
        ("It takes 100 steps a unit.", 1),
        ("A job a GPU, one a device; a pass a unit", 2),
        ("`goes on` in code, and [a link](behind.md)", 0),
        ("```sh\nverb\n```\n    ", 0),
        ("<!-- results x -->\nIt says so.\n<!-- end -->\nA unit is what is optimised.", 0),
        ("<!-- gpu: accuracy -->\n500 steps a unit\n<!-- end gpu -->\nanew", 1),
        ("In a step a unit is read, and an adverb is no verb", 1),
    ],
)
def test_phrases_are_found_in_prose_alone(text: str, words: int) -> None:
    assert len(list(wrong_words(prose(text)))) == words


def test_a_phrase_is_named_with_its_line_and_what_to_say() -> None:
    text = prose("# A page\n\n```\nverb\n```\n\nRun the verb.\n")
    assert list(wrong_words(text)) == ["line 7: 'verb'; say command"]


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("word " * 21, False),
        ("word " * 20, True),
        ("- " + "`" + "x" * 120 + "`", True),
        ("- `" + "x" * 90 + "` and some more words", False),
        ("| " + "word " * 40 + "|", True),
        ("See [the page](" + "x" * 100 + ".md) for it.", True),
        ("See [the page](x.md) for it. " + "word " * 20, False),
        ("![" + "word " * 40 + "](x.png)", True),
        ("```\n" + "word " * 40 + "\n```", True),
        ("<!-- correlations -->\n" + "word " * 40 + "\n<!-- end -->", True),
    ],
)
def test_what_is_too_long(line: str, short: bool) -> None:
    assert (not list(long_lines(line.rstrip()))) == short
