"""``kdc bench``: how fast, end to end, stage by stage."""

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

import cv2
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

SIZE = (640, 480)  # (width, height) of the synthetic clip
FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc bench``."""
    parser.add_argument(
        "source",
        nargs="?",
        help="as in kdc run; default: a synthetic 640x480 clip of walking figures",
    )
    parser.add_argument(
        "--frames", type=natural, default=200, metavar="N", help="at most; default: %(default)s"
    )
    parser.add_argument(
        "--warm-up",
        type=natural,
        default=10,
        metavar="N",
        help="frames before the clock starts; default: %(default)s",
    )
    add_stills(parser)
    parser.add_argument("--json", type=output, metavar="FILE", help="write the figures")
    add_engine(parser)
    add_decoder(parser, min_score=DEFAULT_MIN_SCORE)


def main(args: argparse.Namespace) -> int:
    """Measure and print a table."""
    from kdc_core.io import table, write_json

    if not args.frames:
        raise InputError("--frames: expected at least 1")
    with tempfile.TemporaryDirectory() as folder:
        if args.source is None:
            args.source = str(synthetic_clip(Path(folder) / "figures.avi", args.frames))
        source = open_source(args.source)
        if args.json:
            check_output(args.json, (*source.reads, args.model))
        pipeline = open_pipeline(engine_from(args), decode_from(args))
        figures = measure(pipeline, source, args.frames, args.warm_up, args.stills, args.min_score)
        pipeline.close()
    if args.json:  # before anything is printed: stdout may be closed
        write_json(args.json, figures)
    rows = [[name, *values.values()] for name, values in figures["ms"].items()]
    print(table(["ms", "p50", "p95"], rows))
    print(
        f"{figures['fps']:.1f} frames/s end to end, {figures['frames']} frames "
        f"{figures['frame_size'][0]}x{figures['frame_size'][1]}, "
        f"{figures['people_per_frame']:.1f} people per frame, peak memory "
        f"{figures['peak_memory_mb']:.0f} MB\n{figures['engine']}, {figures['device']}"
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
    """Milliseconds per stage; "read" is decoding the video, "total" all of it.

    Raises:
        ValueError: the source ends before the warm-up does.
    """
    tracking = source.moving and not stills
    session = Session(pipeline, min_score, tracking)
    for frame in islice(source, warm_up):
        session(frame)
    session = Session(pipeline, min_score, tracking)  # the video begins again
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
    """Largest resident size of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3  # bytes there, kB elsewhere


def synthetic_clip(path: Path, frames: int) -> Path:
    """A clip of three walking figures before a soft background, the same on every machine."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    small = rng.integers(60, 200, (12, 16, 3), np.uint8)
    background = cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, SIZE)
    for index in range(frames):
        image = background.copy()
        for figure, (tall, speed) in enumerate(((200, 3.0), (280, -2.0), (360, 1.2))):
            x = (width * (0.2 + 0.3 * figure) + speed * index) % width
            draw_figure(image, x, height - 20, tall, index / FPS * abs(speed) * 2)
        writer.write(image)
    writer.release()
    return path


def draw_figure(image: np.ndarray, x: float, feet: float, tall: float, phase: float) -> None:
    """A figure of coat, trousers and head that walks with the phase (radians)."""
    swing = 0.12 * np.sin(phase)
    hip, neck = (x, feet - 0.5 * tall), (x, feet - 0.82 * tall)
    limbs = [
        (hip, (x + swing * tall, feet), (90, 60, 40)),
        (hip, (x - swing * tall, feet), (70, 50, 40)),
        (neck, (x - swing * tall, feet - 0.45 * tall), (40, 40, 150)),
        (neck, (x + swing * tall, feet - 0.45 * tall), (40, 40, 150)),
        (neck, hip, (50, 50, 180)),
    ]
    for a, b, colour in limbs:
        start, end = ((round(float(px)), round(float(py))) for px, py in (a, b))
        cv2.line(image, start, end, colour, max(3, round(0.1 * tall)), cv2.LINE_AA)
    head = (round(x), round(feet - 0.92 * tall))
    cv2.circle(image, head, round(0.07 * tall), (140, 170, 220), -1, cv2.LINE_AA)


def _percentiles(values: list[float]) -> dict[str, float]:
    middle, high = np.percentile(values, (50, 95)) if values else (np.nan, np.nan)
    return {"p50": round(float(middle), 2), "p95": round(float(high), 2)}
