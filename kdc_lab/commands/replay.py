"""``kdc replay``: recordings to people, figures and a report; a judgement on a change."""

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
    """Arguments of ``kdc replay``."""
    parser.epilog = (
        "Exit codes: 0 done, 2 bad input, 3 something in the recording was skipped (see "
        "summary.json), 4 a figure fell below the baseline."
    )
    parser.add_argument(
        "bag", nargs="?", type=Path,
        help="rosbag2 folder, .mcap or .db3 file; or a folder of several recordings",
    )  # fmt: skip
    parser.add_argument(
        "--topic", action="append", default=[], metavar="T",
        help="camera to replay, may be repeated; default: every camera of the recording",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=output, metavar="DIR", help="gets the results; default: BAG_kdc beside BAG"
    )
    parser.add_argument(
        "--start", type=amount, default=0.0, metavar="S", help="seconds to leave out"
    )
    parser.add_argument(
        "--duration", type=amount, default=0.0, metavar="S", help="seconds to replay"
    )
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap",
        help="of the bag that is written; default: %(default)s",
    )  # fmt: skip
    clock = parser.add_argument_group("clock")
    clock.add_argument(
        "--realtime", action="store_true",
        help="at the recording's own pace, dropping what a robot would drop; default: every frame",
    )  # fmt: skip
    clock.add_argument(
        "--rate", type=amount, default=1.0, metavar="X", help="pace with --realtime; default: 1"
    )
    _add_judgement(parser)
    batch = parser.add_argument_group("many recordings")
    batch.add_argument(
        "--jobs", type=natural, default=0, metavar="N", help="at a time; default: one per two cores"
    )
    batch.add_argument(
        "--ray", nargs="?", const="local", metavar="ADDRESS",
        help="on this Ray cluster; without ADDRESS on a Ray of this machine",
    )  # fmt: skip
    add_engine(parser)
    add_decoder(parser, min_score=DEFAULT_MIN_SCORE)


def _add_judgement(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("judgement")
    group.add_argument(
        "--truth", type=Path, metavar="FILE",
        help="COCO file whose images have `stamp` or `stamp_ns`, of several cameras also `topic`; "
        "or MOTS text of one camera",
    )  # fmt: skip
    group.add_argument(
        "--truth-topic", default="", metavar="T",
        help="PersonArrays with the truth of one camera, label images on …/mask; default: each "
        "camera's …/truth/persons",
    )  # fmt: skip
    group.add_argument(
        "--baseline", type=Path, metavar="FILE",
        help="summary.json of an earlier replay: exit code 4 if a figure is worse",
    )  # fmt: skip
    group.add_argument(
        "--margin", type=share, default=0.01, metavar="X",
        help="by how much a figure may fall below the baseline's; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"),
        help="two output folders of the same recording side by side; replays nothing",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Replay one recording, or many, or compare two replays."""
    if args.compare:
        return _compare(args)
    if args.bag is None:
        raise InputError("expected a recording, or --compare A B")
    from kdc_lab.replay import bags_in, baseline

    before = baseline.read(args.baseline) if args.baseline else None
    bags = bags_in(args.bag)
    if not bags:
        raise InputError(f"{args.bag}: no recordings in this folder (rosbag2 folders, .mcap, .db3)")
    out = args.out or args.bag.parent / f"{args.bag.resolve().name}_kdc"
    one = bags == [args.bag] and not args.ray
    summary = _one(args, out) if one else _many(args, bags, out)
    _print_summary(summary, out)
    lines = baseline.fallen(summary, before, args.margin) if before else []
    for line in lines:
        print(f"worse than {args.baseline}: {line}", file=sys.stderr)
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
        raise InputError("--truth: is for one recording; several carry theirs as a topic")
    engine_from(args).close()  # a wrong model is said once, not for every recording
    jobs = args.jobs or max(1, (os.cpu_count() or 2) // 2)
    model = str(args.model.resolve()) if args.model else None
    engine = (args.engine, model, args.threads or 1, args.long_side, args.flip)
    tasks = [
        parallel_replay.Task(
            str(bag.resolve()), str((out / bag.name).resolve()), engine, decode_from(args),
            _settings(args), _conditions(args),
        )
        for bag in bags
    ]  # fmt: skip
    failed = parallel_replay.run_all(tasks, jobs, args.ray)
    return parallel_replay.merge(tasks, failed, out)


def _compare(args: argparse.Namespace) -> int:
    from kdc_lab.replay import compare

    out = args.out or Path(".")
    content = compare(*args.compare, out)
    for name, (before, after) in content["figures"].items():
        print(f"{name}: {before} -> {after}")
    print(
        f"{content['equal_frames']} of {content['frames']} frames are equal; "
        f"{out / 'compare.html'} shows where they differ"
    )
    return 0


def _settings(args: argparse.Namespace) -> Any:
    from kdc_lab.replay import Settings

    settings = Settings(
        topics=tuple(args.topic), start=args.start, duration=args.duration, realtime=args.realtime,
        truth_topic=args.truth_topic, storage=args.storage,
        min_score=args.min_score,
    )  # fmt: skip
    if args.truth:
        settings = replace(settings, truth=str(args.truth))
    if args.rate <= 0:
        raise InputError("--rate: expected a pace above 0")
    return replace(settings, rate=args.rate)


def _conditions(args: argparse.Namespace) -> dict[str, Any]:
    from kdc_core.io import sha256

    model = weights_of(args)
    return {
        "weights": model.name, "weights_sha256": sha256(model), "long_side": args.long_side,
        "version": __version__,
    }  # fmt: skip


def _print_summary(summary: dict[str, Any], out: Path) -> None:
    """Print the figures, what was skipped, and warnings about stamps."""
    from kdc_lab.replay import describe_stamps

    for topic, figures in summary.get("cameras", {}).items():
        print(f"{topic}: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in figures.items()))
    for name, figures in summary.get("bags", {}).items():
        known = {k: v for k, v in figures.items() if v is not None}
        print(f"{name}: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in known.items()))
    truth = summary["truth"]
    if truth:
        figures = {"mask AP": truth["segm"]["AP"], "keypoint AP": truth["keypoints"]["AP"]}
        figures |= truth["tracks"] or {}
        print(", ".join(f"{k.replace('_', ' ')} {v}" for k, v in figures.items() if v is not None))
    for entry in summary["skipped"]:
        print(f"skipped {entry['count']} x {entry['reason']} ({entry['where']}): {entry['first']}")
    for where, counts in summary["stamps"].items():
        if text := describe_stamps(counts):
            print(f"warning: stamps of {where}: {text}", file=sys.stderr)
    print(f"{summary['frames']} frames: {out / 'report.html'}")
