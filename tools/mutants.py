#!/usr/bin/env python3
"""Mutation testing: change one operator or number at a time, and see whether a test fails.

``make mutants`` runs it. The mutations are those of cosmic-ray; this script chooses which of them
to try, the tests for each module, and a time limit. It works on a copy of the repository.

    make mutants                          all mutants of all policies; takes many hours
    make mutants SAMPLE=100 SEED=1        a random sample
    make mutants ONLY=kdc_core/track      some modules only
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cosmic_ray.mutating
import cosmic_ray.plugins
import cv2  # noqa: F401  imported here once, for all test runs
import hypothesis  # noqa: F401
import pytest
import scipy.optimize  # noqa: F401
from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.operators.operator import Operator

ROOT = Path(__file__).parents[1]

#: module or folder → stages of tests that state its rules. A stage runs only if a mutant survives
#: those before it, so the quickest come first. A module overrides its folder
TESTS: dict[str, tuple[list[str], ...]] = {
    "kdc_core/decode": (
        ["tests/decode/test_rules.py", "tests/decode/test_stages.py"],
        ["tests/decode/test_equal.py", "tests/decode/test_group.py", "tests/decode/test_refine.py",
         "tests/decode/test_round_trip.py"],
    ),
    "kdc_core/track": (
        ["tests/track/test_update.py", "tests/track/test_costs.py", "tests/track/test_publish.py",
         "tests/track/test_lifecycle.py", "tests/track/test_filter.py"],
        ["tests/track/test_video_decoder.py", "tests/track/test_pixel_prior.py",
         "tests/track/test_equal.py"],
        ["tests/track/test_associate.py", "tests/track/test_tracker.py"],
    ),
    "kdc_core/track/score_gate.py": (["tests/track/test_score_gate.py"],),
    "kdc_core/track/visibility.py": (
        ["tests/track/test_update.py"], ["tests/track/test_visibility.py"],
    ),
    "kdc_core/session.py": (["tests/test_session.py"],),
    "kdc_lab/replay/play.py": (
        ["tests/replay/test_play.py"],
        ["tests/replay/test_evaluator.py", "tests/replay/test_damage.py"],
    ),
    "kdc_lab/replay/baseline.py": (["tests/replay/test_baseline.py"],),
    "kdc_lab/replay/camera_stats.py": (["tests/replay/test_camera_stats.py"],),
    "kdc_lab/replay/evaluator.py": (["tests/replay/test_evaluator.py"],),
    "kdc_ros/camera_stream.py": (["tests/ros/test_camera_stream.py"], ["tests/ros/test_node.py"]),
    "kdc_ros/outputs.py": (["tests/ros/test_outputs.py"], ["tests/ros/test_node.py"]),
    "kdc_ros/monitor.py": (["tests/ros/test_monitor.py"],),
    "kdc_ros/qos.py": (["tests/ros/test_qos.py"],),
    "kdc_ros/detections.py": (["tests/ros/test_interfaces.py"],),
    "kdc_ros/hri.py": (["tests/ros/test_interfaces.py"], ["tests/ros/test_bodies.py"]),
    "kdc_ros/markers.py": (["tests/ros/test_markers.py"],),
}  # fmt: skip

COMPARISONS = {"Lt": "LtE GtE", "LtE": "Lt Gt", "Gt": "GtE LtE", "GtE": "Gt Lt", "Eq": "NotEq",
               "NotEq": "Eq", "Is": "IsNot", "IsNot": "Is"}  # fmt: skip
ARITHMETIC = {"Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul",
              "Mod": "FloorDiv", "Pow": "Mul", "BitAnd": "BitOr", "BitOr": "BitAnd"}  # fmt: skip
OPERATORS = [
    "NumberReplacer", "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_USub", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak",
    "ZeroIterationForLoop",
    *(f"ReplaceComparisonOperator_{a}_{b}" for a, to in COMPARISONS.items() for b in to.split()),
    *(f"ReplaceBinaryOperator_{a}_{b}" for a, b in ARITHMETIC.items()),
]  # fmt: skip
#: lines whose mutants change no result: mutable instead of frozen dataclasses, sizes of caches,
#: and -2 for -1 in ``reshape``, where numpy takes any negative number
EQUIVALENT = re.compile(r"@dataclass\(frozen=False|@lru_cache\(|reshape\((?:.*, ?)?- ?2\b")
#: seconds, lowest time limit of a test run, and how many times what the tests usually need
MIN_LIMIT, SLACK = 60.0, 4


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str  # path in the repository
    operator: str
    occurrence: int
    line: int


class _Finder(Visitor):  # type: ignore[misc]
    """Collects the lines of all mutations of an operator."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.lines: list[int] = []

    def visit(self, node: object) -> object:
        """Note where ``node`` can be mutated."""
        self.lines += [start[0] for start, _ in self.operator.mutation_positions(node)]
        return node


class _Bare(ast.NodeTransformer):
    """Removes what has no effect at run time: annotations and docstrings."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Remove the annotation of an argument."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Remove the annotation of the result."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Remove the annotation of a variable."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _meaning(code: str) -> str:
    return ast.dump(_Bare().visit(ast.parse(code)))


def operator_of(name: str) -> Operator:
    """Return cosmic-ray's operator of this name."""
    return cosmic_ray.plugins.get_operator(f"core/{name}")()


def modules(only: str) -> Iterator[tuple[str, str]]:
    """Yield the modules whose path starts with ``only``, and their keys in ``TESTS``."""
    for key in TESTS:
        path = ROOT / key
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(ROOT).as_posix()
            if name.startswith(only) and file.name != "__init__.py":
                yield name, key


def mutants_of(module: str) -> Iterator[Mutant]:
    """Yield all mutants of a module, also those that change annotations only."""
    tree = get_ast((ROOT / module).read_text(encoding="utf-8"))
    for name in OPERATORS:
        finder = _Finder(operator_of(name))
        finder.walk(tree)
        for occurrence, line in enumerate(finder.lines):
            yield Mutant(module, name, occurrence, line)


def mutate(mutant: Mutant) -> str | None:
    """Return the code of the mutated module; None if the change has no effect or is no code."""
    code = (ROOT / mutant.module).read_text(encoding="utf-8")
    operator = operator_of(mutant.operator)
    changed = cosmic_ray.mutating.mutate_code(code, operator, mutant.occurrence)
    try:
        if changed is None or _meaning(changed) == _meaning(code):
            return None
    except SyntaxError:
        return None
    return None if EQUIVALENT.search(_changed_line(code, changed)) else changed


def _changed_line(before: str, after: str) -> str:
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((new for old, new in lines if old != new), "")


def copy_repository(to: Path) -> None:
    """Copy the tracked and the new files of the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, text=True,
        capture_output=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def run_tests(tests: list[str], copy: Path, limit: float | None) -> str:
    """Run tests in the copy; return "passed", "failed" or "timeout".

    They run in a fork of this process, which has imported the large libraries already.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(copy))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))
    end = math.inf if limit is None else time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "passed" if status == 0 else "failed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


class Runner:
    """Runs the tests of mutants in a copy of the repository."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        self._limits: dict[tuple[str, ...], float] = {}

    def fate(self, mutant: Mutant, code: str, key: str) -> str:
        """Return "killed", "timeout", or "SURVIVES" if all tests of the module pass."""
        file = self.copy / mutant.module
        original = file.read_text(encoding="utf-8")
        try:
            for tests in map(self._existing, TESTS[key]):
                limit = self._limit(tests)
                file.write_text(code, encoding="utf-8")
                outcome = run_tests(tests, self.copy, limit)
                if outcome != "passed":
                    return "killed" if outcome == "failed" else outcome
                file.write_text(original, encoding="utf-8")
        finally:
            file.write_text(original, encoding="utf-8")
        return "SURVIVES"

    def _existing(self, tests: list[str]) -> list[str]:
        missing = [name for name in tests if not (self.copy / name).is_file()]
        if missing:
            sys.exit(f"mutants: no such test: {', '.join(missing)}; correct TESTS in {__file__}")
        return tests

    def _limit(self, tests: list[str]) -> float:
        """Return the time limit from the time that the tests need without a mutant."""
        if tuple(tests) not in self._limits:
            start = time.monotonic()
            if run_tests(tests, self.copy, None) != "passed":
                sys.exit(f"mutants: the tests fail without a mutant: {' '.join(tests)}")
            self._limits[tuple(tests)] = max(MIN_LIMIT, SLACK * (time.monotonic() - start))
        return self._limits[tuple(tests)]


def describe(mutant: Mutant, code: str) -> str:
    """Return the mutant in two lines: where it is, and the changed line."""
    changed = _changed_line((ROOT / mutant.module).read_text(encoding="utf-8"), code)
    where = f"{mutant.module}:{mutant.line} {mutant.operator} #{mutant.occurrence}"
    return f"{where}\n      {changed.strip()}"


def main() -> int:
    """Try mutants, print the survivors and the share that was killed in each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=0, help="number of mutants; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="start of the paths of the modules to mutate")
    args = parser.parse_args()
    keys = dict(modules(args.only))
    found = [mutant for module in keys for mutant in mutants_of(module)]
    random.Random(args.seed).shuffle(found)
    wanted = args.sample or len(found)
    fates: dict[str, list[str]] = {}
    survivors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_repository(Path(folder))
        runner, tried = Runner(Path(folder)), 0
        for mutant in found:
            if tried == wanted:
                break
            code = mutate(mutant)
            if code is None:
                continue
            tried += 1
            fate = runner.fate(mutant, code, keys[mutant.module])
            fates.setdefault(str(Path(mutant.module).parent), []).append(fate)
            if fate == "SURVIVES":
                survivors.append(describe(mutant, code))
            print(f"{tried:4} {fate:8} {describe(mutant, code)}", flush=True)
    print(f"\n{len(survivors)} of {tried} mutants survive:", *survivors, sep="\n  ")
    for part, each in sorted(fates.items()):
        dead, late = len(each) - each.count("SURVIVES"), each.count("timeout")
        share = f"{100 * dead / len(each):.0f} %"
        print(f"{part}: {dead} of {len(each)} killed, {share}; {late} of them by the time limit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
