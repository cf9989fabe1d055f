"""``kdc ablate``: every way to choose the centroid, from one set of weights."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kdc_core.commands.options import (
    add_annotated,
    add_engine,
    engine_from,
    natural,
    weights_of,
)
from kdc_core.config import DecodeConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc ablate``."""
    add_annotated(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="gets ablation.md and ablation.json"
    )
    parser.add_argument(
        "--bootstrap", type=natural, default=1000, metavar="N",
        help="resamples of the images for the 95 %% interval of each gain; default: %(default)s",
    )  # fmt: skip
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Run the network once per picture and the decoder once per mode."""
    from kdc_core.evaluate.ablation import ablate, markdown
    from kdc_core.evaluate.dataset import load
    from kdc_core.evaluate.report import protocol, write_json

    dataset = load(args.images, args.annotations).first(args.limit)
    engine = engine_from(args)
    config = DecodeConfig()
    start = time.perf_counter()
    figures = ablate(dataset, engine, config, args.bootstrap)
    seconds = time.perf_counter() - start
    conditions = protocol(dataset, engine, config, weights_of(args), seconds)
    engine.close()
    text = markdown(figures, conditions)
    print(text)
    if args.out:
        write_json(args.out / "ablation.json", {"modes": figures, "protocol": conditions})
        (args.out / "ablation.md").write_text(text, encoding="utf-8")
    return 0
