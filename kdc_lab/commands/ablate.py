"""``kdc ablate``: measure the tables and figures of the paper on one set of weights."""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

from kdc_core.commands.arguments import add_annotated, add_engine, check_output, natural, output
from kdc_core.commands.wiring import engine_from
from kdc_core.config import DecodeConfig
from kdc_core.engines import Engine, open_engine

STUDIES = {
    "modes": "all centroid modes (table IV)",
    "sigma": "both sigmas (figure 5)",
    "time": "AP against time, by input size (figure 4)",
    "keypoints": "predicted against annotated keypoints (table III)",
    "small": "with and without small people (table I)",
    "hiding": "a part of every person covered",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc ablate``."""
    add_annotated(parser)
    parser.add_argument(
        "--study",
        action="append",
        choices=(*STUDIES, "all"),
        metavar="NAME",
        default=[],
        help="study to run, may be repeated: "
        + "; ".join(f"{name} - {line}" for name, line in STUDIES.items())
        + "; all. Default: modes",
    )
    parser.add_argument(
        "--out",
        type=output,
        metavar="DIR",
        help="output folder for ablation.md, ablation.json, a CSV file per table and the plots",
    )
    parser.add_argument(
        "--bootstrap",
        type=natural,
        default=1000,
        metavar="N",
        help="number of resamples of the images for 95 %% intervals; default: %(default)s",
    )
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Run the studies one after the other, and write their tables."""
    from kdc_lab.evaluate import coco_variants, protocol

    chosen = [name for name in STUDIES if name in (args.study or ["modes"]) or "all" in args.study]
    dataset, kind = coco_variants.load(args.images, args.annotations)
    if args.out:
        check_output(args.out / "ablation.json", dataset.reads)
    dataset = dataset.first(args.limit)
    engine = engine_from(args)
    config = DecodeConfig()
    start = time.perf_counter()
    modes: dict[str, Any] = {}
    if "modes" in chosen:
        from kdc_lab.evaluate import ablate

        modes = ablate(dataset, engine, config, args.bootstrap)
    tables = [_study(name, args, dataset, engine, config) for name in chosen if name != "modes"]
    seconds = time.perf_counter() - start
    conditions = {
        **protocol(dataset, engine, config, seconds),
        "format": kind,
    }
    engine.close()
    text = _text(modes, tables, conditions)
    if args.out:  # first, because printing fails if stdout is closed
        _write(args.out, text, modes, tables, conditions)
    print(text)
    return 0


def _study(
    name: str, args: argparse.Namespace, dataset: Any, engine: Engine, config: DecodeConfig
) -> Any:
    from kdc_lab.evaluate import studies

    if name == "time":

        def at(side: int) -> Engine:
            return open_engine(args.engine, args.model, args.threads, side, args.flip)

        return studies.speed(dataset, at, config, args.bootstrap)
    run = {
        "sigma": studies.sigma,
        "keypoints": studies.given_keypoints,
        "small": studies.small,
        "hiding": studies.hiding,
    }[name]
    return run(dataset, engine, config, args.bootstrap)


def _text(modes: dict[str, Any], tables: list[Any], conditions: dict[str, Any]) -> str:
    """Return all tables as Markdown, followed by the conditions."""
    from kdc_core.io import table
    from kdc_lab.evaluate import markdown

    parts = []
    for one in tables:
        parts += [f"## {one.title}", table(one.header, one.rows), one.note]
    if modes:
        return "\n\n".join(
            [*parts, *(["## Centroids (table IV)"] if parts else []), markdown(modes, conditions)]
        )
    below = "; ".join(f"{k} {v}" for k, v in conditions.items() if k != "seconds")
    return "\n\n".join([*parts, f"Protocol: {below}.\n"])


def _write(
    out: Path, text: str, modes: dict[str, Any], tables: list[Any], conditions: dict[str, Any]
) -> None:
    from kdc_core.io import write_json

    found = {one.name: {"header": one.header, "rows": one.rows} for one in tables}
    content = {"modes": modes, "tables": found, "protocol": conditions}
    write_json(out / "ablation.json", content)
    (out / "ablation.md").write_text(text, encoding="utf-8")
    if modes:
        rows = [
            [
                mode,
                *(figures["segm"][n] for n in ("AP", "AP50", "AP75", "APS", "APM", "APL")),
                *figures["segm"].get("AP_gain_95", (None, None)),
                figures["keypoints"]["AP"],
            ]
            for mode, figures in modes.items()
        ]
        header = [
            "centroid",
            "mask AP",
            "AP50",
            "AP75",
            "small",
            "medium",
            "large",
            "gain low",
            "gain high",
            "keypoint AP",
        ]
        _write_csv(out / "modes.csv", header, rows)
    for one in tables:
        _write_csv(out / f"{one.name}.csv", one.header, one.rows)
        if one.plot:
            (out / f"{one.name}.svg").write_text(one.plot, encoding="utf-8")


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
