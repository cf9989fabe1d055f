"""``kdc predict``: write COCO result files for pycocotools or an evaluation server."""

from __future__ import annotations

import argparse
import time

from kdc_core.commands.arguments import add_annotated, add_decoder, add_engine, check_output, output
from kdc_core.commands.wiring import decode_from, engine_from
from kdc_core.pipeline import Pipeline
from kdc_core.track import drop_below


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc predict``."""
    add_annotated(parser)
    parser.add_argument(
        "--out",
        type=output,
        required=True,
        metavar="DIR",
        help="output folder for keypoints.json, segm.json (RLE at the size of the images) and "
        "protocol.json",
    )
    add_engine(parser)
    add_decoder(parser, min_score=0.0)


def main(args: argparse.Namespace) -> int:
    """Predict the people of every image, write COCO result files into ``--out``, return 0."""
    from kdc_core.io import write_json
    from kdc_lab.evaluate import load, predictions, protocol

    dataset = load(args.images, args.annotations, allow_empty=True)
    for name in ("keypoints", "segm", "protocol"):
        check_output(args.out / f"{name}.json", (*dataset.reads, args.model))
    dataset = dataset.first(args.limit)
    pipeline = Pipeline(engine_from(args), decode_from(args))
    start = time.perf_counter()
    results = predictions(
        dataset, lambda frame: drop_below(pipeline(frame), args.min_score), "predict"
    )
    seconds = time.perf_counter() - start
    for entry in results.segm:
        mask = entry["segmentation"]
        entry["segmentation"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
    write_json(args.out / "keypoints.json", results.keypoints)
    write_json(args.out / "segm.json", results.segm)
    conditions = protocol(dataset, pipeline.engine, pipeline.config, seconds, args.min_score)
    write_json(args.out / "protocol.json", conditions)
    pipeline.close()
    print(
        f"{len(dataset)} images, {len(results.keypoints)} skeletons, {len(results.segm)} masks "
        f"in {seconds:.0f} s: {args.out}"
    )
    return 0
