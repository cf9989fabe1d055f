"""The ``kdc`` command: parses, calls one command, and turns errors into one line.

Command modules are imported when they are called: ``kdc --help`` needs numpy and OpenCV only.
Exit codes: 0 done, 1 the doctor found something missing, 2 bad input, 3 and 4 see ``kdc replay``,
128 + n ended by signal n: 130 is Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from typing import Any

from kdc_core import __version__
from kdc_core.errors import is_user_error, one_line
from kdc_core.system import end_in_order

#: command: (module, line for ``kdc --help``)
COMMANDS = {
    "run": ("kdc_core.commands.run", "masks and skeletons for a camera, video, picture or folder"),
    "predict": ("kdc_lab.commands.predict", "write COCO result files for annotated pictures"),
    "evaluate": ("kdc_lab.commands.evaluate", "AP of masks and keypoints on a COCO file"),
    "replay": ("kdc_lab.commands.replay", "a rosbag to people, figures and a report; baselines"),
    "ablate": ("kdc_lab.commands.ablate", "static against dynamic centroids, one table"),
    "occlusion-bench": (
        "kdc_lab.commands.occlusion_bench",
        "who is who while people hide each other, one table",
    ),
    "train": ("kdc_lab.training.train", "train a network on COCO-format data"),
    "synth": ("kdc_lab.commands.synth", "pictures or clips of synthetic people, exact truth"),
    "export": ("kdc_lab.commands.export", "a training checkpoint to ONNX, checked against torch"),
    "quantize": (
        "kdc_lab.commands.quantize",
        "an ONNX file to int8, for CPUs that are fast at it",
    ),
    "build-engine": ("kdc_core.commands.build_engine", "a TensorRT engine for this GPU, kept"),
    "bench": ("kdc_lab.commands.bench", "milliseconds per stage, frames per second, memory"),
    "doctor": ("kdc_core.commands.doctor", "what is installed, would be used, is missing"),
}


def main(argv: list[str] | None = None) -> int:
    """Run ``kdc`` with ``argv`` (the process's arguments by default); returns the exit code."""
    if argv is None:  # a program, whose signals are its own
        argv = sys.argv[1:]
        end_in_order()
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where closed
            stream.reconfigure(errors="backslashreplace")  # σ in an ASCII locale, names in Latin-1
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    code = 0
    try:
        try:
            args = _parser(argv).parse_args(argv)
            code = _module(args.command).main(args)
        finally:  # behind --help as well, which exits
            _flush()
        return code
    except KeyboardInterrupt as stop:
        print("kdc: interrupted", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:  # e.g. `kdc doctor | head`: nobody is left to read an error
        return code
    except Exception as error:
        if os.environ.get("KDC_DEBUG") or not is_user_error(error):
            raise
        print(f"kdc: {one_line(error)}", file=sys.stderr)
        return 2


def _flush() -> None:
    """Find out that stdout is full or nobody reads it, while that can still be answered for."""
    try:
        if sys.stdout:  # None where it was closed from the start
            sys.stdout.flush()
    except OSError as error:
        # the rest goes nowhere: the interpreter would complain of it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise OSError(error.errno, error.strerror, "stdout") from None


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    """All commands with their help lines; arguments only of the one that is called."""
    parser = argparse.ArgumentParser(
        "kdc",
        description="Keypoints as Dynamic Centroids: one camera frame to masks and skeletons.",
        epilog="`kdc COMMAND --help` tells more. KDC_DEBUG=1 shows tracebacks.",
    )
    parser.add_argument("--version", action="version", version=f"kdc {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = next((word for word in argv if not word.startswith("-")), None)
    for name, (_, line) in COMMANDS.items():
        sub = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if name == called:
            _module(name).add_arguments(sub)
    return parser


def _module(command: str) -> Any:
    return importlib.import_module(COMMANDS[command][0])


if __name__ == "__main__":
    sys.exit(main())
