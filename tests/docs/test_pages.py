"""Check that the documentation agrees with the code: commands, parameters, links, messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdc_core.cli import COMMANDS
from kdc_core.io import ros_image
from tests.docs.site import hooks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md")) + sorted(ROOT.glob("*.md"))
FOLDERS = "kdc_core|kdc_lab|kdc_ros|tests|tools|docs|config|examples|launch"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page, as MkDocs and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[\s]", "-", word) for word in words} | {
        re.sub(r"[-\s]+", "-", word) for word in words
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{link}: no such heading"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.parent.name != "reports"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./]*)`", text)
    assert not [path for path in paths if not (ROOT / path).exists()]
    for module in re.findall(r"`(kdc_(?:core|lab|ros)(?:\.[a-z]\w*)+)`", text):
        path = ROOT / module.replace(".", "/")
        parent = (path.parent / "__init__.py", path.parent.with_suffix(".py"))
        assert (
            path.is_dir()
            or path.with_suffix(".py").is_file()
            or any(p.is_file() and path.name in p.read_text("utf-8") for p in parent)
        ), module


def shown_commands(page: Path) -> list[tuple[str, list[str]]]:
    """Return (command, options) of every ``kdc`` command in the code blocks of a page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [part for line in lines for part in line.partition("#")[0].split("&&")]
    found = [re.match(r"\s*(?:\S+=\S+ )?kdc ([\w-]+)(.*)", line) for line in lines]
    return [(m[1], re.findall(r"(?<=\s)--[\w-]+", m[2])) for m in found if m]


@pytest.mark.parametrize(
    ("page", "command", "options"),
    [
        pytest.param(page, command, options, id=f"{page.relative_to(ROOT)}: {command}")
        for page in [*PAGES, ROOT / "trt_engines" / "README.md"]
        if page.parent.name != "reports"
        for command, options in shown_commands(page)
    ],
)
def test_commands_that_are_shown_have_these_options(page, command, options) -> None:
    assert command in COMMANDS
    known = re.findall(r"--[\w-]+", hooks().command_help(command))
    assert not [option for option in options if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_and_extras_that_are_shown_exist(page: Path) -> None:
    makefile, setup = ((ROOT / name).read_text("utf-8") for name in ("Makefile", "setup.py"))
    text = page.read_text("utf-8")
    for line in re.findall(r"^make ([^#\n]*)|`make ([^`\n]*)`", text, re.MULTILINE):
        for target in re.findall(r"(?<![\w=/.-])[a-z][a-z-]+(?![\w=/.])", "".join(line)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for names in re.findall(r"pip install [^`\n]*'?\.\[([\w,-]+)\]", text):
        for extra in names.split(","):
            assert re.search(rf'^        "{extra}": ', setup, re.MULTILINE), f"extra {extra}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


def test_every_command_has_its_help_on_the_page() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    shown = re.findall(r"^## kdc ([\w-]+)\n\n<!-- help: kdc ([\w-]+) -->$", text, re.MULTILINE)
    assert [heading for heading, _ in shown] == [command for _, command in shown]
    assert {command for _, command in shown} == set(COMMANDS)


def test_hooks_insert_the_help_of_a_command() -> None:
    page = hooks().on_page_markdown("Before\n\n<!-- help: kdc doctor -->\n\nAfter")
    assert page.startswith("Before\n\n```text\nusage: kdc doctor")
    assert page.endswith("```\n\nAfter")
    assert "--engine" in page


def test_hooks_insert_an_example() -> None:
    page = hooks().on_page_markdown("<!-- code: examples/ros_client.py -->")
    assert page.startswith('```python\n"""Listen')
    assert page.endswith("rclpy.spin(Client())\n```")


def test_hooks_refuse_an_unknown_command() -> None:
    with pytest.raises(RuntimeError, match="kdc polish --help"):
        hooks().command_help("polish")


def test_hooks_adapt_links_of_included_files() -> None:
    page = hooks().on_page_markdown("<!-- include: CONTRIBUTING.md -->")
    assert "](extending.md)" in page
    assert "](docs/" not in page


@pytest.mark.parametrize("name", ["index", "topics", "recipes", "lifecycle", "diagnostics"])
def test_ros_pages_name_no_old_parameter(name: str) -> None:
    text = (DOCS / "ros" / f"{name}.md").read_text("utf-8")
    assert not re.search(r"\bthreshold:=", text)


def test_topics_page_lists_all_encodings() -> None:
    text = (DOCS / "ros" / "topics.md").read_text("utf-8")
    for encoding in ros_image.LAYOUTS:
        assert f"`{encoding}`" in text, encoding


def test_diagnostics_page_lists_all_keys() -> None:
    source = (ROOT / "kdc_ros" / "monitor.py").read_text("utf-8")
    keys = re.findall(r'^            "([a-z0-9 ]+)": ', source, re.MULTILINE)
    assert len(keys) >= 10
    text = (DOCS / "ros" / "diagnostics.md").read_text("utf-8")
    assert not [key for key in keys if f"`{key}`" not in text]


def test_topics_page_lists_all_outputs() -> None:
    source = (ROOT / "kdc_ros" / "outputs.py").read_text("utf-8")
    added = re.findall(r'self\._add\("([\w/]+)", (\w+), (\d+)', source)
    assert len(added) >= 7
    text = (DOCS / "ros" / "topics.md").read_text("utf-8")
    for name, kind, depth in added:
        row = next(line for line in text.splitlines() if line.startswith(f"| `~/{name}` |"))
        assert kind in row
        assert f"keep last {depth} " in row


def test_messages_page_shows_all_messages() -> None:
    text = (DOCS / "ros" / "messages.md").read_text("utf-8")
    for path in (ROOT / "kdc_msgs" / "msg").glob("*.msg"):
        assert f'"kdc_msgs/msg/{path.name}"' in text
