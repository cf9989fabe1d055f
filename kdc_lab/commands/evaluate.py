"""``kdc evaluate``: measure AP of masks and keypoints on annotated images."""

from __future__ import annotations

import argparse
import time

from kdc_core.commands.arguments import (
    add_annotated,
    add_decoder,
    add_engine,
    check_output,
    natural,
    output,
    refuse_network,
)
from kdc_core.commands.wiring import decode_from, engine_from
from kdc_core.config import EXACT, ModelInfo
from kdc_core.engines import Engine, check_long_side
from kdc_core.errors import InputError
from kdc_core.io import IMAGE_SUFFIXES
from kdc_core.pipeline import Pipeline
from kdc_core.track import drop_below
from kdc_core.types import Frame, People
from kdc_lab.evaluate import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc evaluate``."""
    add_annotated(parser)
    parser.add_argument(
        "--oracle",
        action="store_true",
        help="make the fields from the annotations instead of a network, and use the decoder's "
        "constants for fields without error: the ceiling at the input size and strides of --model, "
        "or of the default preset",
    )
    parser.add_argument(
        "--json", type=output, metavar="FILE", help="write figures and protocol to a file"
    )
    parser.add_argument(
        "--bootstrap",
        type=natural,
        default=0,
        metavar="N",
        help="compute 95 %% intervals of AP from N resamples of the images",
    )
    parser.add_argument(
        "--worst",
        type=output,
        metavar="FILE",
        help="write an image file of the 40 worst images, annotations beside predictions, and "
        "print the kinds of errors by size of person",
    )
    add_engine(parser)
    add_decoder(parser, min_score=0.0)


def main(args: argparse.Namespace) -> int:
    """Evaluate, write the files, and print a short table."""
    from kdc_core.io import write_json
    from kdc_lab.evaluate import (
        Errors,
        FailureGallery,
        error_table,
        errors,
        figures,
        load,
        predictions,
        protocol,
    )

    if args.worst and args.worst.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{args.worst}: expected one of {' '.join(IMAGE_SUFFIXES)} as suffix")
    dataset = load(args.images, args.annotations)
    for file in filter(None, (args.json, args.worst)):
        check_output(file, (*dataset.reads, args.model))
    dataset = dataset.first(args.limit)
    config = decode_from(args, EXACT) if args.oracle else decode_from(args)
    pipeline = Pipeline(_engine(args, dataset), config)
    start = time.perf_counter()
    made: list[Errors] = []
    gallery = FailureGallery(dataset)

    def classify(image: int, frame: Frame, people: People) -> None:
        made.append(errors(dataset, image, people))
        gallery.add(image, frame, people, made[-1])

    results = predictions(
        dataset,
        lambda frame: drop_below(pipeline(frame), args.min_score),
        on_frame=classify if args.worst else None,
    )
    seconds = time.perf_counter() - start
    summary = results.summary(args.bootstrap)
    conditions = protocol(dataset, pipeline.engine, pipeline.config, seconds, args.min_score)
    pipeline.close()
    if args.json:  # first, because printing fails if stdout is closed
        write_json(args.json, {**summary, "protocol": conditions})
    shown = gallery.write(args.worst) if args.worst else 0
    print(figures(summary))
    print(
        f"{len(dataset)} images of {dataset.file.name}, {conditions['engine']}, longest side "
        f"{conditions['longest_side']}, centroid {conditions['centroid']}, {seconds:.0f} s"
    )
    pseudo = conditions["masks_not_drawn_by_people"]
    print(f"masks: {conditions['masks']}, {pseudo} of them made by a network")
    if args.worst:
        print(error_table(made))
        print(f"{shown} images: {args.worst}")
    return 0


def _engine(args: argparse.Namespace, dataset: Dataset) -> Engine:
    if not args.oracle:
        return engine_from(args)
    from kdc_lab.evaluate import GroundTruthEngine

    if args.long_side is not None:
        check_long_side(args.long_side)
    info = ModelInfo()  # the default preset's input size and strides
    if args.flip or not args.model:
        refuse_network(args, "--oracle")
    if args.model:
        network = engine_from(args)
        info = network.info
        network.close()
    return GroundTruthEngine(dataset, info.at(args.long_side))
