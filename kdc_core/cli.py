"""The ``kdc`` command: parse the arguments, run one command, print user errors in one line.

A command's module is imported when the command is called, so that ``kdc --help`` is fast.
Exit codes: 0 = done, 1 = ``kdc doctor`` found something missing, 2 = wrong input, 3 and 4 = see
``kdc replay``, 128 + n = ended by signal n (130 = Ctrl-C).
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
    "run": ("kdc_core.commands.run", "find people in a camera, video, image or folder"),
    "predict": ("kdc_lab.commands.predict", "write COCO result files for annotated images"),
    "evaluate": ("kdc_lab.commands.evaluate", "compute AP of masks and keypoints on a COCO file"),
    "replay": (
        "kdc_lab.commands.replay",
        "process a rosbag as the robot would, and write a report",
    ),
    "ablate": ("kdc_lab.commands.ablate", "compare static and dynamic centroids in one table"),
    "occlusion-bench": (
        "kdc_lab.commands.occlusion_bench",
        "measure how well ids survive occlusion, in one table",
    ),
    "train": ("kdc_lab.training.train", "train a network on data in COCO format"),
    "synth": (
        "kdc_lab.commands.synth",
        "render images or clips of synthetic people with exact ground truth",
    ),
    "export": (
        "kdc_lab.commands.export",
        "convert a training checkpoint to ONNX, checked against torch",
    ),
    "quantize": (
        "kdc_lab.commands.quantize",
        "convert an ONNX file to int8, for CPUs with fast int8 arithmetic",
    ),
    "build-engine": (
        "kdc_core.commands.build_engine",
        "build and cache a TensorRT engine for this GPU",
    ),
    "bench": ("kdc_lab.commands.bench", "measure time per stage, frames per second and memory"),
    "doctor": (
        "kdc_core.commands.doctor",
        "check the installation and show which engine would be used",
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run ``kdc`` with ``argv`` (the arguments of the process by default); return the exit code."""
    if argv is None:  # called as a program, not by a test: the signals are ours to handle
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
        finally:  # also after --help, which exits
            _flush()
        return code
    except KeyboardInterrupt as stop:
        print("kdc: interrupted", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:  # e.g. `kdc doctor | head`: there is no reader left
        return code
    except Exception as error:
        if os.environ.get("KDC_DEBUG") or not is_user_error(error):
            raise
        print(f"kdc: {one_line(error)}", file=sys.stderr)
        return 2


def _flush() -> None:
    """Flush stdout while an error (disk full, reader gone) can still be reported."""
    try:
        if sys.stdout:  # None if it was closed from the start
            sys.stdout.flush()
    except OSError as error:
        # discard the rest, or the interpreter reports the same error again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise OSError(error.errno, error.strerror, "stdout") from None


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    """Return a parser of all commands, with the arguments of the called command only."""
    parser = argparse.ArgumentParser(
        "kdc",
        description="Keypoints as Dynamic Centroids: masks, skeletons and ids of people in images.",
        epilog="See `kdc COMMAND --help`. KDC_DEBUG=1 shows tracebacks of all errors.",
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
