"""The paper's tables and figures from one set of weights: sigma, time, given keypoints, hiding."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle
from scipy.optimize import linear_sum_assignment

from kdc_core.config import DecodeConfig
from kdc_core.decode import assign, build_people, decode, select
from kdc_core.engines import Engine
from kdc_core.skeleton import A, K
from kdc_core.types import Fields, People, Poses
from kdc_lab.evaluate.annotated_images import Dataset
from kdc_lab.evaluate.bootstrap import grouped
from kdc_lab.evaluate.coco_metrics import Results, as_rle, judged, progress
from kdc_lab.evaluate.coco_variants import SMALL, without_small
from kdc_lab.evaluate.plots import Series, curves

IGO = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0)  # sigma of the Gaussian on the masks, pixels
FIXED = (0.1, 0.15, 0.212, 0.3, 0.45)  # sigma of eq. 3 as a share of the person's scale
#: longest side of the network's input, pixels: multiples of what three octaves need for a flip test
SIDES = (256, 384, 512, 640, 768)
HIDDEN = (0.0, 0.3, 0.5, 0.7, 0.9)  # share of every mask that is covered
COMPARED = ("static", "single", "weighted")


@dataclass(frozen=True)
class Table:
    """A table of the report, with a plot where there is something to see."""

    name: str  # of its files
    title: str
    header: list[str]
    rows: list[list[Any]]
    note: str = ""
    plot: str = ""  # SVG


def variants(
    dataset: Dataset, engine: Engine, configs: dict[str, DecodeConfig], verb: str
) -> dict[str, Results]:
    """Results of several decoders on the same fields: the network runs once per picture."""
    results = {name: Results(dataset) for name in configs}
    for image, frame in progress(dataset, verb):
        fields = engine(frame)
        for name, config in configs.items():
            results[name].add(image, decode(fields, config))
    return results


def sigma(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """Mask AP against both sigmas: of the Gaussian, and of eq. 3. Figure 5 of the paper."""
    configs = {
        **{f"Gaussian {s:g}": replace(config, assign=replace(config.assign, igo_sigma=s))
           for s in IGO},
        **{f"eq. 3, {f:g} s": replace(config, centroid=replace(config.centroid, sigma_range=(f, f)))
           for f in FIXED},
        "eq. 3, learned": config,
    }  # fmt: skip
    rows = []
    for name, found in variants(dataset, engine, configs, "sigma").items():
        segm = found.summary(draws)["segm"]
        rows.append([name, segm["AP"], *_interval(segm), segm["AP50"], segm["AP75"]])
    head = ["sigma", "mask AP", "low", "high", "AP50", "AP75"]
    note = (
        "Gaussian: standard deviation in pixels of the filter on the masks (IGO); up to 0.12 it is "
        "the identity. eq. 3: sigma as a share of the person's scale, or as the network says."
    )
    part = rows[: len(IGO)]
    curve = Series("Gaussian", IGO, [r[1] or 0 for r in part], *_bounds(part))
    return Table("sigma", "Sigma (figure 5)", head, rows, note,
                 curves([curve], "sigma, pixels", "mask AP", points=True))  # fmt: skip


def speed(
    dataset: Dataset, open_at: Callable[[int], Engine], config: DecodeConfig, draws: int
) -> Table:
    """Mask AP against time per picture, by input size. Figure 4 of the paper."""
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
        rows.append([side, round(float(p50), 1), round(float(p95), 1), segm["AP"],
                     *_interval(segm), summary["keypoints"]["AP"]])  # fmt: skip
    curve = Series("", [r[1] for r in rows], [r[3] or 0 for r in rows],
                   *_bounds(rows, 4), words=[f"{r[0]} px" for r in rows])  # fmt: skip
    head = ["longest side", "ms p50", "ms p95", "mask AP", "low", "high", "keypoint AP"]
    note = "Time: network and decoder, batch 1, on this machine; the first picture is not counted."
    return Table("time", "AP against time (figure 4)", head, rows, note,
                 curves([curve], "ms per picture", "mask AP", points=True))  # fmt: skip


def given_keypoints(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """Masks from predicted and from annotated keypoints. Table III's protocols, told apart."""
    marked = replace(dataset, people={
        image: [_ignored(entry) for entry in entries] for image, entries in dataset.people.items()
    })  # fmt: skip
    results = {"predicted": Results(marked), "from annotations": Results(marked)}
    for image, frame in progress(marked, "keypoints"):
        fields = engine(frame)
        results["predicted"].add(image, decode(fields, config))
        persons = [e for e in marked.people[image] if not e["iscrowd"] and e["num_keypoints"]]
        results["from annotations"].add(image, from_keypoints(fields, persons, config))
    rows = []
    for name, found in results.items():
        segm = found.summary(draws)["segm"]
        rows.append([name, segm["AP"], *_interval(segm), *(segm[n] for n in
                     ("AP50", "AP75", "APM", "APL"))])  # fmt: skip
    head = ["keypoints", "mask AP", "low", "high", "AP50", "AP75", "medium", "large"]
    note = (
        "People without labelled keypoints are regions where a prediction is neither right nor "
        "wrong. From annotations: skeletons are given, so the row shows the masks alone."
    )
    return Table("keypoints", "Whose keypoints (table III)", head, rows, note)


def from_keypoints(fields: Fields, persons: list[dict[str, Any]], config: DecodeConfig) -> People:
    """People whose anchors are the annotated keypoints; everything else is the network's."""
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
        anchor_score=matched.astype(np.float32), vis=vis, matched=matched,
        score=np.ones(len(xy), np.float32),
    )  # fmt: skip
    centroids = select(fields, poses, config.centroid)
    ids = np.arange(1, len(xy) + 1)
    instances = assign(fields, centroids, ids, config.assign, config.centroid.mode)
    return build_people(poses, centroids, instances, fields.letterbox, config.score)


def small(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """The same predictions judged with and without small people. Table I's protocol."""
    found = variants(dataset, engine, {"": config}, "protocols")[""]
    rows = []
    for name, truth in (("all people", dataset), ("without small people", without_small(dataset))):
        for kind, entries in (("segm", found.segm), ("keypoints", found.keypoints)):
            figures, _ = judged(truth, kind, entries, draws)
            rows.append([name, "masks" if kind == "segm" else "keypoints", figures["AP"],
                         *_interval(figures), figures["AP50"], figures["AP75"]])  # fmt: skip
    head = ["protocol", "", "AP", "low", "high", "AP50", "AP75"]
    note = (
        f"Without small people: those below {SMALL} pixels² or without labelled keypoints are "
        "regions where a prediction is neither right nor wrong."
    )
    return Table("small", "Two protocols (table I)", head, rows, note)


def hiding(dataset: Dataset, engine: Engine, config: DecodeConfig, draws: int) -> Table:
    """IoU of what remains visible, and recall, when a share of everybody is covered."""
    seen: dict[tuple[str, float], list[list[float]]] = {}  # per image: IoU of each person
    really: dict[float, list[float]] = {share: [] for share in HIDDEN}  # hidden share of each
    for share in HIDDEN:
        rng = np.random.default_rng(0)  # every share covers from the same sides
        for image, frame in progress(dataset, f"hide {share:.0%}"):
            persons = [e for e in dataset.people[image] if _coverable(e)]
            masks = [_mask(entry, frame.image.shape[:2]) for entry in persons]
            picture, rest = covered(frame.image, masks, share, rng)
            for mask, left in zip(masks, rest, strict=True):
                really[share].append(1 - float(left.sum()) / max(1, int(mask.sum())))
            fields = engine(replace(frame, image=picture))
            for mode in COMPARED:
                chosen = replace(config, centroid=replace(config.centroid, mode=mode))
                values = _overlaps(rest, decode(fields, chosen))
                seen.setdefault((mode, share), []).append(values)
    gone = {share: sum(value == 1 for value in values) for share, values in really.items()}
    mean_of = {share: _mean_below_one(values) for share, values in really.items()}
    rows, series = [], []
    for mode in COMPARED:
        part = []
        for share in HIDDEN:
            lists = seen[mode, share]
            mean, low, high = grouped(lists, draws, np.mean)
            recall, *_ = grouped(lists, 0, lambda values: np.mean(np.array(values) >= 0.5))
            part.append([mode, share, mean_of[share], mean, low, high, recall, gone[share]])
        rows += part
        x = [row[2] or 0 for row in part]
        series.append(Series(mode, x, [row[3] or 0 for row in part], *_bounds(part, 4)))
    head = ["centroid", "cover", "hidden share", "IoU of the rest", "low", "high",
            "recall at IoU 0.5", "wholly hidden"]  # fmt: skip
    note = (
        f"Every person of {SMALL} pixels² or more with a mask is covered from one side by texture, "
        "and by the covers of those beside; hidden share: what that comes to in the mean. IoU with "
        "the visible rest, 0 for people who are not found; who is wholly hidden is left out."
    )
    return Table("hiding", "Hidden parts", head, rows, note,
                 curves(series, "hidden share", "IoU of the rest"))  # fmt: skip


def covered(
    image: np.ndarray, masks: list[np.ndarray], share: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A copy of the picture where ``share`` of each mask lies behind texture, and what is left."""
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
        pad = 4  # pixels: a cover has no outline of the person
        here &= (y >= rows.min() - pad) & (y <= rows.max() + pad)
        here &= (x >= columns.min() - pad) & (x <= columns.max() + pad)
        texture = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        painted[here] = texture[here]
        behind |= here
    return painted, [mask & ~behind for mask in masks]


def _overlaps(masks: list[np.ndarray], found: People) -> list[float]:
    """IoU of each mask that is left with the prediction that is its own, 0 without one."""
    masks = [mask for mask in masks if mask.any()]
    answers = [found.labels == identity for identity in found.ids]
    iou = np.array([[(m & a).sum() / max(1, (m | a).sum()) for a in answers] for m in masks])
    values = np.zeros(len(masks))
    if iou.size:
        rows, columns = linear_sum_assignment(iou, maximize=True)
        values[rows] = iou[rows, columns]
    return [float(value) for value in values]


def _mean_below_one(values: list[float]) -> float | None:
    """Mean hidden share of those of whom something is left."""
    left = [value for value in values if value < 1]
    return round(float(np.mean(left)), 4) if left else None


def _coverable(entry: dict[str, Any]) -> bool:
    return bool(entry["segmentation"]) and not entry["iscrowd"] and entry["area"] >= SMALL


def _mask(entry: dict[str, Any], size: tuple[int, ...]) -> np.ndarray:
    return rle.decode(as_rle(entry["segmentation"], size)).astype(bool)


def _ignored(entry: dict[str, Any]) -> dict[str, Any]:
    return entry if entry["num_keypoints"] else {**entry, "iscrowd": 1}


def _interval(figures: dict[str, Any]) -> list[float | None]:
    return list(figures.get("AP_95", [None, None]))


def _bounds(rows: list[list[Any]], at: int = 2) -> tuple[list[float], list[float]]:
    """The columns ``low`` and ``high`` for a plot; nothing where there are none."""
    if any(row[at] is None for row in rows):
        return [], []
    return [row[at] for row in rows], [row[at + 1] for row in rows]
