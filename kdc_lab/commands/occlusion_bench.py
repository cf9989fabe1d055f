"""``kdc occlusion-bench``: who is who, and which pixels are whose, while people hide each other.

Constants are chosen on cut-outs of the training pictures' tuning split (``--split tune``); what is
published is measured on cut-outs of pictures that nothing was chosen on.
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

RENDERED = 12  # people in a cast, when they are rendered; about two seconds each

if TYPE_CHECKING:
    from kdc_lab.evaluate import Cast


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc occlusion-bench``."""
    parser.add_argument(
        "--fields", choices=("oracle", "network"), default="oracle",
        help="from the known truth, or from the network; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=output, metavar="DIR", help="gets tables, JSON, plots and clips"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures to cut people from")
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="their COCO person annotations"
    )
    parser.add_argument(
        "--people", choices=("synthetic", "drawn"),
        help="without --images: rendered people or stick figures; "
        "default: synthetic for the network, drawn for the oracle",
    )  # fmt: skip
    parser.add_argument(
        "--split", choices=("all", "tune"), default="all",
        help="tune: cut from the pictures that the training keeps for choosing constants; "
        "default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--backgrounds", type=Path, metavar="DIR", help="pictures without people to walk through"
    )
    parser.add_argument(
        "--noise", type=amount, default=1.0, metavar="X",
        help="errors of the oracle's fields, 0 = none; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--only", metavar="TEXT", help="only clips with this text in their name")
    parser.add_argument("--repeat", type=natural, default=1, metavar="N", help="casts per clip")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of cast and noise")
    parser.add_argument(
        "--no-clips", dest="clips", action="store_false",
        help="no video, bag and truth of every clip in --out, which take most of the time and disk",
    )  # fmt: skip
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Play every clip once and decode it in every way."""
    from kdc_core.io import sha256, write_json
    from kdc_lab.evaluate import occlusion, scenarios

    if args.fields == "oracle":
        refuse_network(args, "--fields oracle")
        if args.model or args.long_side:
            raise InputError("--model, --long-side: expected with --fields network")
    if args.out:
        check_output(args.out / f"occlusion_{args.fields}.json", [args.annotations])
    engine = engine_from(args) if args.fields == "network" else None
    if args.people and args.images:
        raise InputError("--people: expected without --images, whose people walk there")
    if not args.images:
        args.people = args.people or ("synthetic" if engine else "drawn")
    played, start = {}, time.perf_counter()
    for turn in range(max(1, args.repeat)):
        rng = np.random.default_rng(args.seed + turn)
        info = engine.info if engine else ModelInfo()
        look = occlusion.network(engine) if engine else occlusion.oracle(info, rng, args.noise)
        for scenario in scenarios.scenarios(_cast(args, rng), _backgrounds(args, rng)):
            if args.only and args.only not in scenario.name:
                continue
            name = scenario.name + (f"{occlusion.CAST}{turn + 1}" if args.repeat > 1 else "")
            recording = None
            if args.out and args.clips:
                from kdc_lab.replay import Recording

                recording = Recording(args.out / "clips", name, scenario.rate)
            played[name] = occlusion.play(scenario, look, rng, *([recording] if recording else []))
            if recording:
                recording.close()
    if not played:
        raise InputError(f"--only {args.only}: no clip has this in its name")
    result = occlusion.figures(played)
    result["protocol"] = {
        "fields": args.fields, "noise": None if engine else args.noise, "seed": args.seed,
        "people": args.annotations.name if args.annotations else args.people,
        "annotations_sha256": sha256(args.annotations) if args.annotations else None,
        "split": args.split, "casts": args.repeat,
        "engine": engine.name if engine else None,
        "weights_sha256": sha256(engine.model) if engine else None,
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    source = engine.name if engine else f"perfect fields, noise {args.noise:g}"
    text = occlusion.markdown(result, f"Occlusion benchmark: {source}")
    if args.out:  # before anything is printed: stdout may be closed
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
        raise InputError("--images and --annotations belong together: give both or neither")
    if args.split != "all" and not args.images:
        raise InputError("--split: only annotated pictures have one: give --images")
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
    """Pictures large enough for the clips, in random order; [None] for a plain grey.

    Raises:
        ValueError: the folder is not there or has no pictures.
    """
    from kdc_core.io import is_image_file, read_image
    from kdc_lab.evaluate import SIZE

    if not args.backgrounds:
        return [None]
    if not args.backgrounds.is_dir():
        raise InputError(f"{args.backgrounds}: no such folder of backgrounds")
    files = [p for p in sorted(args.backgrounds.iterdir()) if is_image_file(p)]
    if not files:
        raise InputError(f"{args.backgrounds}: no pictures in this folder")
    pictures: list[np.ndarray | None] = []
    for index in rng.permutation(len(files))[:20]:
        image = read_image(files[index])
        factor = max(SIZE[0] / image.shape[1], SIZE[1] / image.shape[0])
        size = (int(image.shape[1] * factor) + 1, int(image.shape[0] * factor) + 1)
        pictures.append(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
    return pictures
