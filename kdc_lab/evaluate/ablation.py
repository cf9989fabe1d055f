"""Compare static with dynamic centroids on one set of weights, as table IV of the paper does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from kdc_core.config import CentroidMode, DecodeConfig
from kdc_core.engines import Engine
from kdc_core.io import table
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.bootstrap import average_precision, interval, resamples
from kdc_lab.evaluate.coco_metrics import Results
from kdc_lab.evaluate.studies import variants

TITLES = {
    "static": "SM_c, static",
    "single": "DM_c, single",
    "nearest": "DM_c, nearest",
    "weighted": "DM_c, weighted",
    "all": "all keypoints",
}


def ablate(
    dataset: Dataset, engine: Engine, config: DecodeConfig, bootstrap: int = 1000
) -> dict[str, dict[str, Any]]:
    """Return the figures of every centroid mode; the network runs once per image.

    Every mode except "static" gets ``segm["AP_gain"]``, its mask AP minus that of "static", and
    ``segm["AP_gain_95"]``, the 95 % interval. Both modes are evaluated on the same ``bootstrap``
    resamples of the images, so the variance that they share cancels.
    """
    modes = {
        mode.value: replace(config, centroid=replace(config.centroid, mode=mode))
        for mode in CentroidMode
    }
    results = variants(dataset, engine, modes, "ablate")
    figures = {mode: found.summary() for mode, found in results.items()}
    if figures["static"]["segm"]["AP"] is not None and bootstrap:
        _add_gains(figures, results, resamples(len(dataset), bootstrap))
    return figures


def _add_gains(
    figures: dict[str, dict[str, Any]], results: dict[str, Results], draws: np.ndarray
) -> None:
    precision = {
        mode: np.array([average_precision(found.matches["segm"], times) for times in draws])
        for mode, found in results.items()
    }
    for mode in figures:
        if mode == "static":
            continue
        segm = figures[mode]["segm"]
        low, high = interval(precision[mode] - precision["static"])
        segm["AP_gain"] = round(segm["AP"] - figures["static"]["segm"]["AP"], 4)
        segm["AP_gain_95"] = [round(low, 4), round(high, 4)]


def markdown(figures: dict[str, dict[str, Any]], conditions: dict[str, Any]) -> str:
    """Return the ablation as a Markdown table with the conditions below it."""
    header = [
        "centroid",
        "mask AP",
        "AP50",
        "AP75",
        "small",
        "medium",
        "large",
        "gain over SM_c (95 %)",
        "keypoint AP",
        "same person",
    ]
    rows = []
    for mode, result in figures.items():
        segm = result["segm"]
        gain = ""
        if "AP_gain" in segm:
            low, high = segm["AP_gain_95"]
            gain = f"{segm['AP_gain']:+.3f} ({low:+.3f} to {high:+.3f})"
        rows.append(
            [
                TITLES[mode],
                *(segm[n] for n in ("AP", "AP50", "AP75", "APS", "APM", "APL")),
                gain,
                result["keypoints"]["AP"],
                result["same_person"]["share"],
            ]
        )
    hidden = ("centroid", "seconds")  # the table lists the modes; they share one run
    below = "; ".join(f"{k} {v}" for k, v in conditions.items() if k not in hidden)
    return f"{table(header, rows)}\n\nProtocol: {below}.\n"
