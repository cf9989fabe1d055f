"""Tables and figures of the paper on one set of weights: sigma, time, keypoints, occlusion."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle
from scipy.optimize import linear_sum_assignment

from kdc_core.config import CentroidMode, DecodeConfig
from kdc_core.decode import assign, build_people, decode, select
from kdc_core.engines import Engine
from kdc_core.skeleton import A, K
from kdc_core.types import Fields, People, Poses
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.bootstrap import grouped
from kdc_lab.evaluate.coco_metrics import Results, as_rle, evaluate_results, progress
from kdc_lab.evaluate.coco_variants import SMALL, without_small
from kdc_lab.evaluate.plots import Series, curves

IGO = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0)  # sigma of the Gaussian on the masks, pixels
FIXED = (0.1, 0.15, 0.212, 0.3, 0.45)  # sigma of eq. 3 as a share of the person's scale
#: longest side of the network's input, pixels; multiples of what a flip test at three scales needs
SIDES = (256, 384, 512, 640, 768)
HIDDEN = (0.0, 0.3, 0.5, 0.7, 0.9)  # share of every mask that is covered
COMPARED = ("static", "single", "weighted")


@dataclass(frozen=True)
class Table:
    """A table of the report, optionally with a plot."""

    name: str  # of the files
    title: str
    header: list[str]
    rows: list[list[Any]]
    note: str = ""
    plot: str = ""  # SVG


def variants(
    dataset: Dataset, engine: Engine, configs: dict[str, DecodeConfig], verb: str
) -> dict[str, Results]:
    """Return the results of several decoders on the same fields: one network run per image."""
    results = {name: Results(dataset) for name in configs}
    for image, frame in progress(dataset, verb):
        fields = engine(frame)
        for name, config in configs.items():
            results[name].add(image, decode(fields, config))
    return results


def sigma(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """Measure mask AP against both sigmas: of the Gaussian, and of eq. 3. Figure 5 of the paper."""
    configs = {
        **{
            f"Gaussian {s:g}": replace(config, assign=replace(config.assign, igo_sigma=s))
            for s in IGO
        },
        **{
            f"eq. 3, {f:g} s": replace(
                config, centroid=replace(config.centroid, sigma_range=(f, f))
            )
            for f in FIXED
        },
        "eq. 3, learned": config,
    }
    rows = []
    for name, found in variants(dataset, engine, configs, "sigma").items():
        segm = found.summary(draws)["segm"]
        rows.append([name, segm["AP"], *_interval(segm), segm["AP50"], segm["AP75"]])
    head = ["sigma", "mask AP", "low", "high", "AP50", "AP75"]
    note = (
        "Gaussian: standard deviation in pixels of the filter on the masks (IGO); up to 0.12 it is "
        "the identity. eq. 3: sigma as a share of the person's scale, or as predicted."
    )
    part = rows[: len(IGO)]
    curve = Series("Gaussian", IGO, [r[1] or 0 for r in part], *_bounds(part))
    return Table(
        "sigma",
        "Sigma (figure 5)",
        head,
        rows,
        note,
        curves([curve], "sigma, pixels", "mask AP", points=True),
    )


def speed(
    dataset: Dataset, open_at: Callable[[int], Engine], config: DecodeConfig, draws: int
) -> Table:
    """Measure mask AP against time per image, by input size. Figure 4 of the paper."""
    rows = []
    for side in SIDES:
        engine = open_at(side)
        results, spent = Results(dataset), []
        for image, frame in progress(dataset, f"{side} px"):
            start = time.perf_counter()
            found = decode(engine(frame), config)
            spent.append((time.perf_counter() - start) * 1e3)
            results.add(image, found)
        engine.close()
        summary = results.summary(draws)
        segm = summary["segm"]
        p50, p95 = np.percentile(spent[1:] or spent, (50, 95))
        rows.append(
            [
                side,
                round(float(p50), 1),
                round(float(p95), 1),
                segm["AP"],
                *_interval(segm),
                summary["keypoints"]["AP"],
            ]
        )
    curve = Series(
        "",
        [r[1] for r in rows],
        [r[3] or 0 for r in rows],
        *_bounds(rows, 4),
        words=[f"{r[0]} px" for r in rows],
    )
    head = ["longest side", "ms p50", "ms p95", "mask AP", "low", "high", "keypoint AP"]
    note = "Time: network and decoder, batch 1, on this machine; the first image is not counted."
    return Table(
        "time",
        "AP against time (figure 4)",
        head,
        rows,
        note,
        curves([curve], "ms per image", "mask AP", points=True),
    )


def given_keypoints(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """Compare masks from predicted and from annotated keypoints: the two protocols of table III."""
    marked = replace(
        dataset,
        people={
            image: [_ignored(entry) for entry in entries]
            for image, entries in dataset.people.items()
        },
    )
    results = {"predicted": Results(marked), "from annotations": Results(marked)}
    for image, frame in progress(marked, "keypoints"):
        fields = engine(frame)
        results["predicted"].add(image, decode(fields, config))
        persons = [e for e in marked.people[image] if not e["iscrowd"] and e["num_keypoints"]]
        results["from annotations"].add(image, from_keypoints(fields, persons, config))
    rows = []
    for name, found in results.items():
        segm = found.summary(draws)["segm"]
        rows.append(
            [name, segm["AP"], *_interval(segm), *(segm[n] for n in ("AP50", "AP75", "APM", "APL"))]
        )
    head = ["keypoints", "mask AP", "low", "high", "AP50", "AP75", "medium", "large"]
    note = (
        "People without labelled keypoints are regions where a prediction is neither right nor "
        "wrong. From annotations: skeletons are given, so the row measures the masks only."
    )
    return Table("keypoints", "Source of the keypoints (table III)", head, rows, note)


def from_keypoints(fields: Fields, persons: list[dict[str, Any]], config: DecodeConfig) -> People:
    """Return people whose anchors are the annotated keypoints; all other fields are predicted."""
    points = np.array([p["keypoints"] for p in persons], np.float32).reshape(-1, K, 3)
    known = points[..., 2] > 0
    middle = (points[..., :2] * known[..., None]).sum(axis=1) / known.sum(axis=1)[:, None]
    xy = np.repeat(middle[:, None], A, axis=1)
    xy[:, :K] = np.where(known[..., None], points[..., :2], middle[:, None])
    matched = np.zeros((len(xy), A), bool)
    matched[:, :K] = known
    vis = np.zeros((len(xy), A), np.float32)
    vis[:, :K] = np.where(points[..., 2] == 2, 1.0, 0.5) * known
    poses = Poses(
        xy=fields.letterbox.to_input(xy).astype(np.float32),
        anchor_score=matched.astype(np.float32),
        vis=vis,
        matched=matched,
        score=np.ones(len(xy), np.float32),
    )
    centroids = select(fields, poses, config.centroid)
    ids = np.arange(1, len(xy) + 1)
    instances = assign(fields, centroids, ids, config.assign, config.centroid.mode)
    return build_people(poses, centroids, instances, fields.letterbox, config.score)


def small(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """Evaluate the same predictions with and without small people: the protocol of table I."""
    found = variants(dataset, engine, {"": config}, "protocols")[""]
    rows = []
    for name, truth in (("all people", dataset), ("without small people", without_small(dataset))):
        for kind, entries in (("segm", found.segm), ("keypoints", found.keypoints)):
            figures, _ = evaluate_results(truth, kind, entries, draws)
            rows.append(
                [
                    name,
                    "masks" if kind == "segm" else "keypoints",
                    figures["AP"],
                    *_interval(figures),
                    figures["AP50"],
                    figures["AP75"],
                ]
            )
    head = ["protocol", "", "AP", "low", "high", "AP50", "AP75"]
    note = (
        f"Without small people: those below {SMALL} pixels² or without labelled keypoints are "
        "regions where a prediction is neither right nor wrong."
    )
    return Table("small", "Two protocols (table I)", head, rows, note)


def hiding(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """Measure IoU of the visible rest, and recall, when a share of every person is covered."""
    seen: dict[tuple[str, float], list[list[float]]] = {}  # per image: IoU of each person
    really: dict[float, list[float]] = {share: [] for share in HIDDEN}  # hidden share of each
    for share in HIDDEN:
        rng = np.random.default_rng(0)  # the same sides are covered for every share
        for image, frame in progress(dataset, f"hide {share:.0%}"):
            persons = [e for e in dataset.people[image] if _coverable(e)]
            masks = [annotation_mask(entry, frame.image.shape[:2]) for entry in persons]
            covered_image, rest = covered(frame.image, masks, share, rng)
            for mask, left in zip(masks, rest, strict=True):
                really[share].append(1 - float(left.sum()) / max(1, int(mask.sum())))
            fields = engine(replace(frame, image=covered_image))
            for mode in COMPARED:
                chosen = replace(config, centroid=replace(config.centroid, mode=CentroidMode(mode)))
                values = best_overlaps(rest, decode(fields, chosen))
                seen.setdefault((mode, share), []).append(values)
    gone = {share: sum(value == 1 for value in values) for share, values in really.items()}
    mean_of = {share: _mean_below_one(values) for share, values in really.items()}
    rows, series = [], []
    for mode in COMPARED:
        part: list[list[Any]] = []
        for share in HIDDEN:
            lists = seen[mode, share]
            mean, low, high = grouped(lists, draws, np.mean)
            recall, *_ = grouped(lists, 0, lambda values: np.mean(np.array(values) >= 0.5))
            part.append([mode, share, mean_of[share], mean, low, high, recall, gone[share]])
        rows += part
        x = [row[2] or 0 for row in part]
        series.append(Series(mode, x, [row[3] or 0 for row in part], *_bounds(part, 4)))
    head = [
        "centroid",
        "cover",
        "hidden share",
        "IoU of the rest",
        "low",
        "high",
        "recall at IoU 0.5",
        "fully hidden",
    ]
    note = (
        f"Every person of {SMALL} pixels² or more with a mask is covered from one side by texture. "
        "Covers of neighbours hide it as well: hidden share is the mean of the actual shares. IoU "
        "is measured with the visible rest and is 0 for people that are not found; fully hidden "
        "people are left out."
    )
    return Table(
        "hiding",
        "Hidden parts",
        head,
        rows,
        note,
        curves(series, "hidden share", "IoU of the rest"),
    )


def covered(
    image: np.ndarray, masks: list[np.ndarray], share: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cover ``share`` of each mask with texture; return the image and the visible masks."""
    painted, behind = image.copy(), np.zeros(image.shape[:2], bool)
    for mask in masks:
        side = int(rng.integers(4))  # below, above, left, right
        coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
        if not share or not mask.any():
            continue
        rows, columns = np.nonzero(mask)
        along = (-rows, rows, columns, -columns)[side]
        border = np.quantile(along, share)
        y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
        here = (-y, y, x, -x)[side] <= border
        pad = 4  # pixels: the cover must not show the outline of the person
        here &= (y >= rows.min() - pad) & (y <= rows.max() + pad)
        here &= (x >= columns.min() - pad) & (x <= columns.max() + pad)
        texture = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        painted[here] = texture[here]
        behind |= here
    return painted, [mask & ~behind for mask in masks]


def best_overlaps(masks: list[np.ndarray], found: People) -> list[float]:
    """Return the IoU of each visible mask with its matched prediction, 0 without one."""
    masks = [mask for mask in masks if mask.any()]
    predicted = [found.labels == identity for identity in found.ids]
    iou = np.array([[(m & a).sum() / max(1, (m | a).sum()) for a in predicted] for m in masks])
    values = np.zeros(len(masks))
    if iou.size:
        rows, columns = linear_sum_assignment(iou, maximize=True)
        values[rows] = iou[rows, columns]
    return [float(value) for value in values]


def _mean_below_one(values: list[float]) -> float | None:
    """Return the mean hidden share of people that are not fully hidden."""
    left = [value for value in values if value < 1]
    return round(float(np.mean(left)), 4) if left else None


def _coverable(entry: dict[str, Any]) -> bool:
    return bool(entry["segmentation"]) and not entry["iscrowd"] and entry["area"] >= SMALL


def annotation_mask(entry: dict[str, Any], size: tuple[int, ...]) -> np.ndarray:
    """Return the mask (H, W) bool of an annotation."""
    return rle.decode(as_rle(entry["segmentation"], size)).astype(bool)


def _ignored(entry: dict[str, Any]) -> dict[str, Any]:
    return entry if entry["num_keypoints"] else {**entry, "iscrowd": 1}


def _interval(figures: dict[str, Any]) -> list[float | None]:
    return list(figures.get("AP_95", [None, None]))


def _bounds(rows: list[list[Any]], at: int = 2) -> tuple[list[float], list[float]]:
    """Return the columns ``low`` and ``high`` for a plot; empty if there are none."""
    if any(row[at] is None for row in rows):
        return [], []
    return [row[at] for row in rows], [row[at + 1] for row in rows]
