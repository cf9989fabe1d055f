"""``kdc bench``: measure the speed end to end and of each stage."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.commands.arguments import (
    add_decoder,
    add_engine,
    add_stills,
    check_output,
    natural,
    output,
)
from kdc_core.commands.wiring import decode_from, engine_from
from kdc_core.errors import InputError
from kdc_core.io import Source, open_source
from kdc_core.pipeline import Pipeline, open_pipeline
from kdc_core.session import DEFAULT_MIN_SCORE, Session
from kdc_lab.synth import write_walking_clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc bench``."""
    parser.add_argument(
        "source",
        nargs="?",
        help="what to read, as in kdc run; default: a drawn clip of walking people, 640x480",
    )
    parser.add_argument(
        "--frames",
        type=natural,
        default=200,
        metavar="N",
        help="number of frames to measure, at most; default: %(default)s",
    )
    parser.add_argument(
        "--warm-up",
        type=natural,
        default=10,
        metavar="N",
        help="frames to process before the measurement; default: %(default)s",
    )
    add_stills(parser)
    parser.add_argument("--json", type=output, metavar="FILE", help="write the results to a file")
    add_engine(parser)
    add_decoder(parser, min_score=DEFAULT_MIN_SCORE)


def main(args: argparse.Namespace) -> int:
    """Measure, and print a table of milliseconds per stage."""
    from kdc_core.io import table, write_json

    if not args.frames:
        raise InputError("--frames: expected at least 1, got 0")
    with tempfile.TemporaryDirectory() as folder:
        if args.source is None:
            args.source = str(write_walking_clip(Path(folder) / "walking.avi", args.frames))
        source = open_source(args.source)
        if args.json:
            check_output(args.json, (*source.reads, args.model))
        pipeline = open_pipeline(engine_from(args), decode_from(args))
        results = measure(pipeline, source, args.frames, args.warm_up, args.stills, args.min_score)
        pipeline.close()
    if args.json:  # first, because printing fails if stdout is closed
        write_json(args.json, results)
    rows = [[name, *values.values()] for name, values in results["ms"].items()]
    print(table(["ms", "p50", "p95"], rows))
    print(
        f"{results['fps']:.1f} fps end to end, {results['frames']} frames "
        f"{results['frame_size'][0]}x{results['frame_size'][1]}, "
        f"{results['people_per_frame']:.1f} people per frame, peak memory "
        f"{results['peak_memory_mb']:.0f} MB\n{results['engine']}, {results['device']}"
    )
    return 0


def measure(
    pipeline: Pipeline,
    source: Source,
    frames: int,
    warm_up: int,
    stills: bool = False,
    min_score: float = DEFAULT_MIN_SCORE,
) -> dict[str, Any]:
    """Measure the time that a pipeline takes for the frames of a source.

    Returns:
        A JSON object. ``ms`` gives the percentiles of each stage in milliseconds; the stage
        "read" is the decoding of the video, "total" the whole frame.

    Raises:
        InputError: The source has no frame left after the warm-up.
    """
    tracking = source.moving and not stills
    session = Session(pipeline, min_score, tracking)
    for frame in islice(source, warm_up):
        session(frame)
    session = Session(pipeline, min_score, tracking)  # a file starts again at its first frame
    times: defaultdict[str, list[float]] = defaultdict(list)
    people, start = 0, time.perf_counter()
    last = start
    size = (0, 0)
    for frame in islice(source, frames):
        times["read"].append((time.perf_counter() - last) * 1e3)
        result = session(frame)
        people += len(result.people) if result else 0
        size = frame.size
        for name, milliseconds in pipeline.timings.items():
            times[name].append(milliseconds)
        now = time.perf_counter()
        times["total"].append((now - last) * 1e3)
        last = now
    count = len(times["total"])
    if not count:
        raise InputError(f"{source.name}: no frame left after {warm_up} for the warm-up")
    return {
        "ms": {name: _percentiles(values) for name, values in times.items()},
        "fps": count / (last - start),
        "frames": count,
        "frame_size": size,
        "people_per_frame": people / count,
        "peak_memory_mb": peak_memory(),
        "engine": pipeline.engine.name,
        "longest_side": pipeline.engine.info.longest,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
        "source": source.name,
    }


def peak_memory() -> float:
    """Return the largest resident size of this process so far in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        peak / 1e6 if sys.platform == "darwin" else peak / 1e3
    )  # macOS counts in bytes, Linux in kB


def _percentiles(values: list[float]) -> dict[str, float]:
    middle, high = np.percentile(values, (50, 95)) if values else (np.nan, np.nan)
    return {"p50": round(float(middle), 2), "p95": round(float(high), 2)}
