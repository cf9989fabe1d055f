"""Check that the licence is the same everywhere, and that no file names a path of one machine."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
LICENCE = "Apache-2.0"
#: a path below a home or work folder, at the beginning of a word
PRIVATE = re.compile(rb"(?<![\w.}~$/-])/(?:home|root|Users|work)/[\w.]")


def tracked() -> list[Path]:
    listing = ""
    if shutil.which("git"):
        command = ["git", "ls-files", "-z"]
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in listing.split("\0") if name]
    if ROOT / "setup.py" not in paths:
        pytest.skip("not a git checkout: which files are tracked is unknown")
    return [path for path in paths if path.is_file()]


def setup_argument(name: str) -> object:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    setup = next(call for call in calls if getattr(call.func, "id", "") == "setup")
    return ast.literal_eval(next(word.value for word in setup.keywords if word.arg == name))


def test_licence_is_apache_2_in_every_place() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert len(text.splitlines()) > 195  # all of it
    assert setup_argument("license") == LICENCE
    for folder in (ROOT, ROOT / "kdc_msgs"):
        package = ElementTree.parse(folder / "package.xml").getroot()
        assert [entry.text for entry in package.findall("license")] == [LICENCE]


def test_names_and_addresses_agree() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert setup_argument("name") == package.findtext("name")
    assert setup_argument("maintainer_email") == package.find("maintainer").attrib["email"]


def test_private_paths_are_found() -> None:
    for bad in (b'"/home/anna/x"', b"in /" + b"work/kdc", b"=/root/.cache"):
        assert PRIVATE.search(bad), bad
    good_ones = (
        b"~/" + b"work/kdc",
        b"$HOME/root/x",
        b"docs/work/plan",
        b"/dev/video0",
        b"//root/a",
    )
    for good in good_ones:
        assert not PRIVATE.search(good), good


def test_no_file_names_a_path_of_one_machine() -> None:
    own = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in tracked()
        if path.resolve() != own and (match := PRIVATE.search(path.read_bytes()))
    ]
    assert not found


def test_versions_are_pinned_without_an_address() -> None:
    for name in ("constraints.txt", "constraints-numpy1.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            requirement = line.partition("#")[0].partition(";")[0].strip()
            assert not requirement or re.fullmatch(r"[\w.-]+==[\w.+!]+", requirement), line
