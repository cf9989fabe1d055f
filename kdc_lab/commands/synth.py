"""``kdc synth``: render images or clips of synthetic people with exact masks, keypoints and ids."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from kdc_core.commands.arguments import natural, output, share
from kdc_core.errors import InputError
from kdc_lab.synth import SynthConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc synth``."""
    default = SynthConfig()
    parser.add_argument(
        "--out", type=output, required=True, metavar="DIR", help="output folder, new or empty"
    )
    parser.add_argument(
        "--count",
        type=natural,
        default=100,
        metavar="N",
        help="number of images, or of clips with --video; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="seed of everything random"
    )
    parser.add_argument(
        "--size",
        type=natural,
        nargs=2,
        default=default.size,
        metavar=("W", "H"),
        help="width and height in pixels; default: {} {}".format(*default.size),
    )
    parser.add_argument(
        "--people",
        type=natural,
        nargs=2,
        default=default.people,
        metavar=("A", "B"),
        help="minimum and maximum number of people in a scene; default: {} {}".format(
            *default.people
        ),
    )
    parser.add_argument(
        "--crowding",
        type=share,
        default=default.crowding,
        metavar="X",
        help="0: few people side by side, 1: many in front of each other; default: %(default)s",
    )
    parser.add_argument(
        "--backgrounds",
        type=Path,
        metavar="DIR",
        help="images without people for the background; default: drawn rooms and streets",
    )
    parser.add_argument(
        "--workers",
        type=natural,
        default=0,
        metavar="N",
        help="number of processes; default: one per core",
    )
    video = parser.add_argument_group("clips")
    video.add_argument(
        "--video",
        action="store_true",
        help="write clips: a video, the truth of every frame, and a recording (MCAP)",
    )
    video.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="length of a clip in seconds; default: 10",
    )
    video.add_argument(
        "--fps",
        type=float,
        default=30.0,
        metavar="F",
        help="frames per second of a clip; default: 30",
    )


def main(args: argparse.Namespace) -> int:
    """Write synthetic images or clips, print how many there are per second, return 0."""
    from kdc_lab.synth import backgrounds_in

    config = replace(
        SynthConfig(), size=tuple(args.size), people=tuple(args.people), crowding=args.crowding
    )
    if args.count < 1:
        raise InputError("--count: expected 1 or more, got 0")
    if not (0 < args.seconds <= 3600 and 1 <= args.fps <= 240):
        raise InputError(
            f"expected --seconds above 0 and up to 3600, and --fps from 1 to 240, got "
            f"{args.seconds:g} and {args.fps:g}"
        )
    if args.video and round(args.seconds * args.fps) < 1:
        raise InputError(
            f"--seconds {args.seconds:g}: expected at least one frame at --fps {args.fps:g}"
        )
    backgrounds = backgrounds_in(args.backgrounds) if args.backgrounds else []
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f"{args.out}: expected a new or empty folder; choose another one")
    start = time.perf_counter()
    if args.video:
        from kdc_lab.replay import write_clips

        with tqdm(total=args.count, unit="clip", disable=None) as bar:
            made = write_clips(
                args.out,
                args.count,
                args.seed,
                config,
                backgrounds,
                args.seconds,
                args.fps,
                args.workers,
                bar.update,
            )
        frames = made["frames"]
    else:
        from kdc_lab.synth import write_stills

        with tqdm(total=args.count, unit="image", disable=None) as bar:
            made = write_stills(
                args.out, args.count, args.seed, config, backgrounds, args.workers, bar.update
            )
        frames = made["images"]
    pace = frames / (time.perf_counter() - start)
    text = ", ".join(f"{count} {name}" for name, count in made.items())
    print(f"{args.out}: {text}; {pace:.1f} images per second, start-up included")
    return 0
