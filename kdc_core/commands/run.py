"""``kdc run``: find people in a camera, video, image or folder."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

import cv2
import numpy as np
from tqdm import tqdm

from kdc_core.commands.arguments import add_decoder, add_engine, add_stills, natural, output
from kdc_core.commands.wiring import decode_from, engine_from
from kdc_core.errors import InputError
from kdc_core.io import (
    FolderSink,
    Sink,
    Source,
    check_apart,
    images_in,
    open_sink,
    open_source,
    overlay,
)
from kdc_core.pipeline import open_pipeline
from kdc_core.session import DEFAULT_MIN_SCORE, Session
from kdc_core.types import Frame, People


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc run``."""
    parser.add_argument(
        "source", help="camera index, /dev/video…, video file, stream address, image or folder"
    )
    parser.add_argument(
        "--out",
        type=output,
        metavar="PATH",
        help="write the drawn frames: a video (.mp4 .avi .mkv), an image (.jpg .png) or a folder",
    )
    parser.add_argument(
        "--save-masks",
        type=output,
        metavar="DIR",
        help="write label images, 16-bit PNG: pixel = id of the person, 0 = background",
    )
    add_stills(parser)
    parser.add_argument(
        "--view", action="store_true", help="show the drawn frames in a window; q or Esc ends"
    )
    parser.add_argument(
        "--max-frames", type=natural, default=0, metavar="N", help="stop after N frames"
    )
    add_engine(parser)
    add_decoder(parser, min_score=DEFAULT_MIN_SCORE)


def main(args: argparse.Namespace) -> int:
    """Process the source to its end, then print a summary."""
    source = open_source(args.source)
    if args.view:
        check_window()
    sinks = _sinks(args, source)
    pipeline = open_pipeline(engine_from(args), decode_from(args))
    session = Session(pipeline, args.min_score, source.moving and not args.stills)
    totals = Totals(session)
    with ExitStack() as stack:
        # if the source fails halfway, the video is playable and the summary is printed
        stack.callback(lambda: print(totals.summary()))
        stack.callback(pipeline.close)
        for sink in filter(None, sinks):
            stack.callback(sink.close)
        for frame in progress(source, args.max_frames):
            people = totals.process(frame)
            if people is None:
                continue
            more = _emit(frame, people, args.view, *sinks)
            if source.kind == "image":
                print(describe(people))
                if args.view and more:
                    hold_window()
            if not more:
                break
    return 0


class Totals:
    """Counts frames and people, and measures the time of the stages."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.milliseconds: list[float] = []
        self.people = 0
        self._start = time.perf_counter()

    def process(self, frame: Frame) -> People | None:
        """Return the people of a frame and count them; None if the frame was dropped."""
        result = self._session(frame)
        if result is None:
            return None
        self.milliseconds.append(sum(self._session.pipeline.timings.values()))
        self.people += len(result.people)
        return result.people

    def summary(self) -> str:
        """Return the summary in one line."""
        frames = len(self.milliseconds)
        if not frames:
            return "0 frames"
        seconds = time.perf_counter() - self._start
        middle, high = np.percentile(self.milliseconds, (50, 95))
        return (
            f"{frames} frames, {self.people / frames:.1f} people per frame, "
            f"{frames / seconds:.1f} fps, latency p50 {middle:.0f} ms p95 {high:.0f} ms, "
            f"{self._session.pipeline.engine.name}"
        )


def describe(people: People) -> str:
    """Return one line per person, for a single image."""
    lines = []
    for person in people:
        x1, y1, x2, y2 = person.box
        lines.append(
            f"person {person.id}: skeleton {person.score:.2f}, mask {person.mask_score:.2f}, "
            f"box {x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}, {person.mask.sum()} pixels, "
            f"{person.visible.sum()} visible keypoints, centroid {person.centroid_name}"
        )
    return "\n".join(lines) or "no people"


def progress(source: Source, max_frames: int = 0) -> Iterator[Frame]:
    """Yield frames and show a progress bar on stderr, if that is a terminal."""
    total = min(source.count or max_frames, max_frames or source.count or 0) or None
    frames: Iterable[Frame] = islice(source, max_frames) if max_frames else source
    return iter(tqdm(frames, source.name, total, unit="frame", disable=None, leave=False))


def check_window() -> None:
    """Check before the work begins that a window can be shown.

    Raises:
        InputError: there is no screen, or OpenCV was built without windows.
    """
    advice = "use --out instead"
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not screen:
        raise InputError(f"--view: there is no screen (DISPLAY is not set): {advice}")
    try:
        cv2.namedWindow("kdc", cv2.WINDOW_NORMAL)
    except cv2.error:
        raise InputError(
            "--view: this OpenCV cannot show windows: pip uninstall opencv-python-headless && "
            f"pip install opencv-python, or {advice}"
        ) from None


def hold_window() -> None:
    """Wait until a key is pressed or the window is closed.

    Short waits in a loop let Ctrl-C end the program.
    """
    while cv2.waitKey(100) < 0 and cv2.getWindowProperty("kdc", cv2.WND_PROP_VISIBLE) > 0:
        pass


def _sinks(args: argparse.Namespace, source: Source) -> tuple[Sink | None, Sink | None]:
    """Return the outputs of ``--out`` and ``--save-masks``; None = not given."""
    if args.save_masks:
        check_apart(args.save_masks, source, ".png")
        masks = images_in(args.save_masks, source, ".png")
        if args.out and args.out.resolve() in (path.resolve() for path in masks):
            raise InputError(f"{args.out}: --save-masks writes this file, choose another --out")
    overlays = open_sink(args.out, source) if args.out else None
    return overlays, FolderSink(args.save_masks, ".png") if args.save_masks else None


def _emit(
    frame: Frame, people: People, view: bool, overlays: Sink | None, masks: Sink | None
) -> bool:
    """Write and show one frame; return False when the user has ended the program."""
    if masks is not None:
        masks.write(people.labels, frame.stamp, frame.frame_id)
    if overlays is None and not view:
        return True
    drawn = overlay(frame.image, people)
    if overlays is not None:
        overlays.write(drawn, frame.stamp, frame.frame_id)
    if view:
        cv2.imshow("kdc", drawn)
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)
    return True
