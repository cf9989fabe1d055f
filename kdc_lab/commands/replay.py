"""``kdc replay``: replay recordings, write people, figures and a report, compare two replays."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdc_core import __version__
from kdc_core.commands.arguments import add_decoder, add_engine, amount, natural, output, share
from kdc_core.commands.wiring import decode_from, engine_from, weights_of
from kdc_core.errors import InputError
from kdc_core.pipeline import open_pipeline
from kdc_core.session import DEFAULT_MIN_SCORE

SKIPPED, FALLEN = 3, 4  # exit codes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc replay``."""
    parser.epilog = (
        "Exit codes: 0 done, 2 wrong input, 3 something in the recording was skipped (see "
        "summary.json), 4 a figure fell below the baseline."
    )
    parser.add_argument(
        "bag",
        nargs="?",
        type=Path,
        help="rosbag2 folder, .mcap or .db3 file, or a folder of several recordings",
    )
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="T",
        help="image topic to replay, may be repeated; default: every camera of the recording",
    )
    parser.add_argument(
        "--out", type=output, metavar="DIR", help="output folder; default: BAG_kdc beside BAG"
    )
    parser.add_argument(
        "--start",
        type=amount,
        default=0.0,
        metavar="S",
        help="begin S seconds after the start of the recording; default: 0",
    )
    parser.add_argument(
        "--duration",
        type=amount,
        default=0.0,
        metavar="S",
        help="replay S seconds; default: to the end",
    )
    parser.add_argument(
        "--storage",
        choices=("mcap", "sqlite3"),
        default="mcap",
        help="storage of the bag that is written; default: %(default)s",
    )
    clock = parser.add_argument_group("clock")
    clock.add_argument(
        "--realtime",
        action="store_true",
        help="replay at the speed of the recording and drop the frames that a robot would drop; "
        "default: process every frame",
    )
    clock.add_argument(
        "--rate",
        type=amount,
        default=1.0,
        metavar="X",
        help="speed relative to the recording, with --realtime; default: 1",
    )
    _add_evaluation(parser)
    batch = parser.add_argument_group("several recordings")
    batch.add_argument(
        "--jobs",
        type=natural,
        default=0,
        metavar="N",
        help="number of recordings to replay at a time; default: one per two cores",
    )
    batch.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="use the Ray cluster at ADDRESS; without ADDRESS start Ray on this machine",
    )
    add_engine(parser)
    add_decoder(parser, min_score=DEFAULT_MIN_SCORE)


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evaluation")
    group.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="ground truth: a COCO file whose images have `stamp` or `stamp_ns`, and `topic` if "
        "there are several cameras; or MOTS text for one camera",
    )
    group.add_argument(
        "--truth-topic",
        default="",
        metavar="T",
        help="topic of PersonArrays with the ground truth of one camera, its label images on "
        "…/mask; default: …/truth/persons of each camera",
    )
    group.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="summary.json of an earlier replay: exit with code 4 if a figure is lower now",
    )
    group.add_argument(
        "--margin",
        type=share,
        default=0.01,
        metavar="X",
        help="how far a figure may fall below the baseline; default: %(default)s",
    )
    group.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="compare two output folders of one recording instead of replaying",
    )


def main(args: argparse.Namespace) -> int:
    """Replay one or several recordings, or compare two replays."""
    if args.compare:
        return _compare(args)
    if args.bag is None:
        raise InputError("expected a recording or --compare A B")
    from kdc_lab.replay import bags_in, baseline

    before = baseline.read(args.baseline) if args.baseline else None
    bags = bags_in(args.bag)
    if not bags:
        raise InputError(
            f"{args.bag}: no recordings in this folder; expected rosbag2 folders, .mcap or .db3 "
            "files"
        )
    out = args.out or args.bag.parent / f"{args.bag.resolve().name}_kdc"
    one = bags == [args.bag] and not args.ray
    summary = _one(args, out) if one else _many(args, bags, out)
    _print_summary(summary, out)
    lines = baseline.fallen(summary, before, args.margin) if before else []
    for line in lines:
        print(f"below the baseline {args.baseline}: {line}", file=sys.stderr)
    if lines:
        return FALLEN
    return SKIPPED if summary["skipped"] else 0


def _one(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    from kdc_lab.replay import Replay

    engine = engine_from(args)
    try:
        pipeline = open_pipeline(engine, decode_from(args))
        replay = Replay(args.bag, out, pipeline, _settings(args))
        return replay.run({"engine": engine.name, **_conditions(args)})
    finally:
        engine.close()


def _many(args: argparse.Namespace, bags: list[Path], out: Path) -> dict[str, Any]:
    from kdc_lab.replay import parallel_replay

    if args.truth:
        raise InputError(
            "--truth is for one recording; with several, each needs its ground truth as a topic"
        )
    engine_from(args).close()  # report a wrong model once, not for every recording
    jobs = args.jobs or max(1, (os.cpu_count() or 2) // 2)
    model = str(args.model.resolve()) if args.model else None
    engine = (args.engine, model, args.threads or 1, args.long_side, args.flip)
    tasks = [
        parallel_replay.Task(
            str(bag.resolve()),
            str((out / bag.name).resolve()),
            engine,
            decode_from(args),
            _settings(args),
            _conditions(args),
        )
        for bag in bags
    ]
    failed = parallel_replay.run_all(tasks, jobs, args.ray)
    return parallel_replay.merge(tasks, failed, out)


def _compare(args: argparse.Namespace) -> int:
    from kdc_lab.replay import compare

    out = args.out or Path(".")
    a, b = args.compare
    content = compare(a, b, out)
    for name, (before, after) in content["figures"].items():
        print(f"{name}: {before} -> {after}")
    print(
        f"{content['equal_frames']} of {content['frames']} frames are equal; differences: "
        f"{out / 'compare.html'}"
    )
    return 0


def _settings(args: argparse.Namespace) -> Any:
    from kdc_lab.replay import Settings

    settings = Settings(
        topics=tuple(args.topic),
        start=args.start,
        duration=args.duration,
        realtime=args.realtime,
        truth_topic=args.truth_topic,
        storage=args.storage,
        min_score=args.min_score,
    )
    if args.truth:
        settings = replace(settings, truth=str(args.truth))
    if args.rate <= 0:
        raise InputError(f"--rate: expected a number above 0, got {args.rate:g}")
    return replace(settings, rate=args.rate)


def _conditions(args: argparse.Namespace) -> dict[str, Any]:
    from kdc_core.io import sha256

    model = weights_of(args)
    return {
        "weights": model.name,
        "weights_sha256": sha256(model),
        "long_side": args.long_side,
        "version": __version__,
    }


def _print_summary(summary: dict[str, Any], out: Path) -> None:
    """Print the figures, what was skipped, and warnings about stamps."""
    from kdc_lab.replay import describe_stamps, printable

    for topic, figures in summary.get("cameras", {}).items():
        print(f"{printable(topic)}: {_list(figures)}")
    for name, figures in summary.get("bags", {}).items():
        known = {k: v for k, v in figures.items() if v is not None}
        print(f"{name}: {_list(known)}")
    truth = summary["truth"]
    if truth:
        figures = {"mask AP": truth["segm"]["AP"], "keypoint AP": truth["keypoints"]["AP"]}
        figures |= truth["tracks"] or {}
        print(_list({name: value for name, value in figures.items() if value is not None}))
    for entry in summary["skipped"]:
        text = f"{entry['count']} x {entry['reason']} ({entry['where']}): {entry['first']}"
        print(f"skipped {printable(text)}")
    for where, counts in summary["stamps"].items():
        if text := describe_stamps(counts):
            print(f"warning: stamps of {printable(where)}: {text}", file=sys.stderr)
    print(f"{summary['frames']} frames: {out / 'report.html'}")


def _list(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
