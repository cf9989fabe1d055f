"""``kdc predict``: COCO result files, for pycocotools or an evaluation server."""

from __future__ import annotations

import argparse
import time

from kdc_core.commands.options import (
    add_annotated,
    add_decoder,
    add_engine,
    check_output,
    decode_from,
    engine_from,
    output,
)
from kdc_core.pipeline import Pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc predict``."""
    add_annotated(parser)
    parser.add_argument(
        "--out", type=output, required=True, metavar="DIR",
        help="gets keypoints.json, segm.json (RLE at the pictures' own size) and protocol.json",
    )  # fmt: skip
    add_engine(parser)
    add_decoder(parser, min_score=0.0)


def main(args: argparse.Namespace) -> int:
    """Run over the pictures and write the files."""
    from kdc_core.evaluate.coco import predictions
    from kdc_core.evaluate.dataset import load
    from kdc_core.evaluate.report import protocol, write_json

    dataset = load(args.images, args.annotations, nobody=True)
    for name in ("keypoints", "segm", "protocol"):
        check_output(args.out / f"{name}.json", (*dataset.reads, args.model))
    dataset = dataset.first(args.limit)
    pipeline = Pipeline(engine_from(args), decode_from(args))
    start = time.perf_counter()
    results = predictions(dataset, pipeline, "predict")
    seconds = time.perf_counter() - start
    for entry in results.segm:
        mask = entry["segmentation"]
        entry["segmentation"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
    write_json(args.out / "keypoints.json", results.keypoints)
    write_json(args.out / "segm.json", results.segm)
    conditions = protocol(dataset, pipeline.engine, pipeline.config, seconds)
    write_json(args.out / "protocol.json", conditions)
    pipeline.close()
    print(
        f"{len(dataset)} pictures, {len(results.keypoints)} skeletons, {len(results.segm)} masks "
        f"in {seconds:.0f} s: {args.out}"
    )
    return 0
