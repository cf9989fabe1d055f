"""Check the wording of texts that users and contributors read; the rules are in CONTRIBUTING.md.

Checked are README, the pages of the site (not the reports, which are records), help texts,
launch files, comments of parameters and messages, errors and docstrings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdc_core.cli import COMMANDS
from tests.docs.site import hooks

ROOT = Path(__file__).parents[2]
#: packages whose docstrings and errors are checked
PACKAGES = ("kdc_core", "kdc_lab", "kdc_ros", "examples", "tools")
#: pattern, what to write instead
RULES = (
    (r"\bpictures?\b", "image or frame"),
    (r"\bwho(m)?ever\b", "a noun, or: people who ..."),
    (r"\b(some|every)body('s)?\b", "a person, everyone, users"),
    (r"\bnobody\b", "background, no one, not any"),
    (r"(?-i:(?<=[.!?:;] )Of|^Of) (whom|which|them|it)\b", "subject first"),
    (r"\bforsaken\b|\bamiss\b", "plain words"),
    (r"\b(is|are|was|were|be|been|when|if|unless|as|until) (told|asked)\b", "set, given"),
    (r"\btold (by|apart by|from)\b|\basked (of|for by)\b", "given by, taken from"),
    (r"\bha(s|ve) (its|their|a|the|no) say\b", "count, be used"),
    (r"\bby heart\b|\bof its own accord\b|\bin the way\b", "plain words"),
    (r"\b(pictures|images|frames) a second\b|\b(pictures|images)/s\b", "fps"),
    (r"\bfrom where (it|they) (lies?|is|are)\b", "at its position"),
    (r"\b(tells|says|knows|wants|speaks|thinks|believes) (who|whom|whose)\b", "returns, decides"),
    (r"\bwho is (seen|hidden|behind|there|covered)\b(?! and)", "people who are ..."),
    (r"\band be it\b|\bbe they\b|\bor none at all\b", "plain words"),
    (r"\b(sure|unsure|surer|surest)\b", "confident, score, confidence"),
)
#: correct uses, removed before the rules are applied
ALLOWED = (
    r"`[^`\n]*`|(?<![\w-])--[a-z-]+",  # code, options
    r"make sure|sure to|told apart",
    r"people who|persons? who|person whose|people whose",
)


def findings(text: str) -> list[str]:
    """Return what breaks a rule in a text, one line each."""
    for pattern in ALLOWED:
        text = re.sub(pattern, lambda match: "·" * len(match[0]), text, flags=re.IGNORECASE)
    found = []
    for pattern, better in RULES:
        for match in re.finditer(pattern, text, re.IGNORECASE | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            around = " ".join(text[max(0, match.start() - 30) : match.end() + 30].split())
            found.append(f"line {line}: {match[0]!r} in '{around}': write {better}")
    return found


def prose(markdown: str) -> str:
    """Return Markdown without code blocks and without the tables of words to avoid."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^\| use \| for \| not \|.*?^$", "", text, flags=re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    names = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
    site = sorted((ROOT / "docs").rglob("*.md"))
    generated = ("reports", "reference")
    return [ROOT / name for name in names] + [p for p in site if p.parent.name not in generated]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every docstring of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


def error_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every error that a module raises with a literal text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            parts = [
                part.value
                for part in ast.walk(node.exc)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            if parts:
                yield node.lineno, " ".join(parts)


def comments(path: Path, mark: str = "#") -> str:
    """Return the comments of a message or YAML file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.partition(mark)[2] for line in lines)


def long_strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every string of several words, docstrings included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def modules(packages: tuple[str, ...]) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def listed(kind: str, texts: Iterator[tuple[int, str]]) -> list[str]:
    """Return the findings in the texts of a file."""
    return [f"{kind} at line {line}, {found}" for line, text in texts for found in findings(text)]


LAUNCH = sorted((ROOT / "launch").glob("*.py"))
COMMENTED = [ROOT / "config" / "params.yaml", *sorted((ROOT / "kdc_msgs" / "msg").glob("*.msg"))]


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_pages_use_the_terms(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "CONTRIBUTING.md":  # its ten rules quote what they forbid
        text = text.replace(text[text.index("### Ten rules") : text.index("### Terms")], "")
    assert not findings(prose(text))


@pytest.mark.parametrize("path", modules(PACKAGES), ids=name_of)
def test_docstrings_use_the_terms(path: Path) -> None:
    assert not listed("docstring", docstrings(path))


@pytest.mark.parametrize("path", modules(PACKAGES), ids=name_of)
def test_errors_use_the_terms(path: Path) -> None:
    assert not listed("error", error_texts(path))


@pytest.mark.parametrize("path", LAUNCH, ids=name_of)
def test_launch_files_use_the_terms(path: Path) -> None:
    assert not listed("text", long_strings(path))


@pytest.mark.parametrize("path", COMMENTED, ids=name_of)
def test_comments_of_interfaces_use_the_terms(path: Path) -> None:
    assert not findings(comments(path))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_uses_the_terms(command: str) -> None:
    assert not findings(hooks().command_help(command))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Return the image of a person whose mask is empty.", 0),
        ("`picture` is the old name.", 0),
        ("Write a picture.", 1),
        ("Of whom nothing is seen is not reported.", 1),
        ("The threshold is told by whoever calls.", 3),
        ("0 = nobody", 1),
        ("It runs at 20 frames a second.", 1),
        ("Make sure that it is closed.", 0),
    ],
)
def test_findings_are_what_breaks_a_rule(text: str, count: int) -> None:
    assert len(findings(text)) == count
