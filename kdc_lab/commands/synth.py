"""``kdc synth``: pictures or clips of synthetic people, with exact masks, keypoints and ids."""

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
    """Arguments of ``kdc synth``."""
    default = SynthConfig()
    parser.add_argument("--out", type=output, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--count", type=natural, default=100, metavar="N",
        help="pictures, or clips with --video; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="of everything")
    parser.add_argument(
        "--size", type=natural, nargs=2, default=default.size, metavar=("W", "H"),
        help="pixels; default: {} {}".format(*default.size),
    )  # fmt: skip
    parser.add_argument(
        "--people", type=natural, nargs=2, default=default.people, metavar=("A", "B"),
        help="fewest and most in a scene; default: {} {}".format(*default.people),
    )  # fmt: skip
    parser.add_argument(
        "--crowding", type=share, default=default.crowding, metavar="X",
        help="0: few and far apart, 1: shoulder to shoulder; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--backgrounds", type=Path, metavar="DIR",
        help="pictures without people to put behind them; default: drawn rooms and streets",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=natural, default=0, metavar="N", help="processes; default: one per core"
    )
    video = parser.add_argument_group("clips")
    video.add_argument(
        "--video", action="store_true", help="clips: video, truth of every frame, recording (mcap)"
    )
    video.add_argument("--seconds", type=float, default=10.0, metavar="S", help="default: 10")
    video.add_argument("--fps", type=float, default=30.0, metavar="F", help="default: 30")


def main(args: argparse.Namespace) -> int:
    """Write everything, and say what it is and how fast it was made."""
    from kdc_lab.synth import backgrounds_in

    config = replace(
        SynthConfig(), size=tuple(args.size), people=tuple(args.people), crowding=args.crowding
    )
    if args.count < 1:
        raise InputError("--count: expected a number from 1 on, got 0")
    if not (0 < args.seconds <= 3600 and 1 <= args.fps <= 240):
        raise InputError(
            f"expected --seconds above 0 up to 3600 and --fps from 1 to 240, got {args.seconds:g} "
            f"and {args.fps:g}"
        )
    if args.video and round(args.seconds * args.fps) < 1:
        raise InputError(
            f"--seconds {args.seconds:g}: expected one frame or more, at --fps {args.fps:g}"
        )
    backgrounds = backgrounds_in(args.backgrounds) if args.backgrounds else []
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f"{args.out}: expected a new or empty folder: give another one")
    start = time.perf_counter()
    if args.video:
        from kdc_lab.replay import write_clips

        with tqdm(total=args.count, unit="clip", disable=None) as bar:
            made = write_clips(
                args.out, args.count, args.seed, config, backgrounds, args.seconds, args.fps,
                args.workers, bar.update,
            )  # fmt: skip
        frames = made["frames"]
    else:
        from kdc_lab.synth import write_stills

        with tqdm(total=args.count, unit="picture", disable=None) as bar:
            made = write_stills(
                args.out, args.count, args.seed, config, backgrounds, args.workers, bar.update
            )
        frames = made["pictures"]
    pace = frames / (time.perf_counter() - start)
    text = ", ".join(f"{count} {name}" for name, count in made.items())
    print(f"{args.out}: {text}; {pace:.1f} pictures a second, start included")
    return 0
