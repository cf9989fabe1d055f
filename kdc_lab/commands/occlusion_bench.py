"""``kdc occlusion-bench``: measure ids and masks while people occlude each other.

Constants are tuned on cut-outs of the training set's tuning split (``--split tune``). Published
figures are measured on cut-outs of images that were not used for tuning.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from kdc_core.commands.arguments import (
    add_engine,
    amount,
    check_output,
    natural,
    output,
    refuse_network,
)
from kdc_core.commands.wiring import engine_from
from kdc_core.config import ModelInfo
from kdc_core.errors import InputError

RENDERED = 12  # people in a rendered cast; each takes about two seconds

if TYPE_CHECKING:
    from kdc_lab.evaluate import Cast


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc occlusion-bench``."""
    parser.add_argument(
        "--fields",
        choices=("oracle", "network"),
        default="oracle",
        help="oracle: fields from the ground truth; network: fields from the images; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--out", type=output, metavar="DIR", help="output folder for tables, JSON, plots and clips"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="images to cut people from")
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="COCO annotations of --images"
    )
    parser.add_argument(
        "--people",
        choices=("synthetic", "drawn"),
        help="kind of people without --images, rendered or drawn; "
        "default: synthetic with --fields network, drawn with --fields oracle",
    )
    parser.add_argument(
        "--split",
        choices=("all", "tune"),
        default="all",
        help="images to cut from; tune: only those that training keeps for tuning constants; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--backgrounds", type=Path, metavar="DIR", help="images without people as backgrounds"
    )
    parser.add_argument(
        "--noise",
        type=amount,
        default=1.0,
        metavar="X",
        help="size of the errors in the fields of the oracle, 0 = none; default: %(default)s",
    )
    parser.add_argument("--only", metavar="TEXT", help="run only clips whose name contains TEXT")
    parser.add_argument(
        "--repeat",
        type=natural,
        default=1,
        metavar="N",
        help="number of casts per clip; default: 1",
    )
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="seed of cast and noise; default: 0"
    )
    parser.add_argument(
        "--no-clips",
        dest="clips",
        action="store_false",
        help="do not write video, bag and ground truth of the clips, which take most of the time",
    )
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Process every clip with every method, and write the tables."""
    from kdc_core.io import sha256, write_json
    from kdc_lab.evaluate import occlusion, scenarios

    if args.fields == "oracle":
        refuse_network(args, "--fields oracle")
        if args.model or args.long_side:
            raise InputError("--model and --long-side can only be used with --fields network")
    if args.out:
        check_output(args.out / f"occlusion_{args.fields}.json", [args.annotations])
    engine = engine_from(args) if args.fields == "network" else None
    if args.people and args.images:
        raise InputError("--people cannot be used with --images, which gives the people")
    if not args.images:
        args.people = args.people or ("synthetic" if engine else "drawn")
    played, start = {}, time.perf_counter()
    for turn in range(max(1, args.repeat)):
        rng = np.random.default_rng(args.seed + turn)
        info = engine.info if engine else ModelInfo()
        render_fields = (
            occlusion.network_fields(engine)
            if engine
            else occlusion.ground_truth_fields(info, rng, args.noise)
        )
        for scenario in scenarios.scenarios(_cast(args, rng), _backgrounds(args, rng)):
            if args.only and args.only not in scenario.name:
                continue
            name = scenario.name + (f"{occlusion.CAST}{turn + 1}" if args.repeat > 1 else "")
            recording = None
            if args.out and args.clips:
                from kdc_lab.replay import Recording

                recording = Recording(args.out / "clips", name, scenario.rate)
            callbacks = [recording] if recording else []
            played[name] = occlusion.play(scenario, render_fields, rng, *callbacks)
            if recording:
                recording.close()
    if not played:
        raise InputError(f"--only {args.only}: no clip has a name with this text")
    result = occlusion.figures(played)
    result["protocol"] = {
        "fields": args.fields,
        "noise": None if engine else args.noise,
        "seed": args.seed,
        "people": args.annotations.name if args.annotations else args.people,
        "annotations_sha256": sha256(args.annotations) if args.annotations else None,
        "split": args.split,
        "casts": args.repeat,
        "engine": engine.name if engine else None,
        "weights_sha256": sha256(engine.model) if engine and engine.model else None,
        "seconds": round(time.perf_counter() - start, 1),
    }
    source = engine.name if engine else f"perfect fields, noise {args.noise:g}"
    text = occlusion.markdown(result, f"Occlusion benchmark: {source}")
    if args.out:  # first, because printing fails if stdout is closed
        write_json(args.out / f"occlusion_{args.fields}.json", result)
        (args.out / f"occlusion_{args.fields}.md").write_text(text, encoding="utf-8")
        for name, drawing in occlusion.drawings(result).items():
            (args.out / f"{args.fields}_{name}").write_text(drawing, encoding="utf-8")
    print(text)
    if engine:
        engine.close()
    return 0


def _cast(args: argparse.Namespace, rng: np.random.Generator) -> Cast:
    from kdc_lab.evaluate import drawn, real

    if bool(args.images) != bool(args.annotations):
        raise InputError("--images and --annotations can only be used together")
    if args.split != "all" and not args.images:
        raise InputError("--split can only be used with --images")
    if args.people == "synthetic":
        from kdc_lab.evaluate import rendered

        return real(rendered(RENDERED, int(rng.integers(1 << 31))), rng)
    if not args.images:
        return drawn(rng)
    from kdc_lab.evaluate import cut_out, load
    from kdc_lab.training import is_tuning_image

    dataset = load(args.images, args.annotations)
    if args.split == "tune":
        dataset = dataset.only([e["id"] for e in dataset.images if is_tuning_image(e["id"])])
    return real(cut_out(dataset), rng)


def _backgrounds(args: argparse.Namespace, rng: np.random.Generator) -> list[np.ndarray | None]:
    """Return images large enough for the clips, in random order; [None] for a plain grey.

    Raises:
        InputError: the folder does not exist or has no images.
    """
    from kdc_core.io import is_image_file, read_image
    from kdc_lab.evaluate import SIZE

    if not args.backgrounds:
        return [None]
    if not args.backgrounds.is_dir():
        raise InputError(f"{args.backgrounds}: no such folder of backgrounds")
    files = [p for p in sorted(args.backgrounds.iterdir()) if is_image_file(p)]
    if not files:
        raise InputError(f"{args.backgrounds}: no images in this folder")
    images: list[np.ndarray | None] = []
    for index in rng.permutation(len(files))[:20]:
        image = read_image(files[index])
        factor = max(SIZE[0] / image.shape[1], SIZE[1] / image.shape[0])
        size = (int(image.shape[1] * factor) + 1, int(image.shape[0] * factor) + 1)
        images.append(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
    return images
