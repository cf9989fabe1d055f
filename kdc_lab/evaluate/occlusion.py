"""The occlusion benchmark: compare methods of tracking through occlusion on the same fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from kdc_core.config import CentroidConfig, CentroidMode, DecodeConfig, ModelInfo
from kdc_core.decode import anchor_weights, find_poses
from kdc_core.engines import Engine
from kdc_core.io import table
from kdc_core.letterbox import Letterbox
from kdc_core.track import TrackConfig, VideoDecoder, keep_duplicates
from kdc_core.types import Centroids, Fields, Frame, People, Poses
from kdc_lab.evaluate.bootstrap import grouped
from kdc_lab.evaluate.box_tracker import BoxTracker
from kdc_lab.evaluate.clip_metrics import GAP_BINS, HIDDEN_BINS, ClipRecord, summary
from kdc_lab.evaluate.composed_clips import ComposedFrame
from kdc_lab.evaluate.field_noise import noisy
from kdc_lab.evaluate.plots import Series, curves
from kdc_lab.evaluate.scenarios import Scenario
from kdc_lab.training import Batch, oracle_fields

RenderFields = Callable[[ComposedFrame, float], Fields]
MIN_SCORE = 0.25  # the default on a robot; AP would rank all predictions
DEFAULT = "weighted, temporal"
CAST = " #"  # between a clip's name and the number of its cast
GAINS = {"HOTA": "HOTA", "iou_half_hidden": "IoU above half hidden"}
DRAWS = 4000  # number of resamples


def methods() -> dict[str, VideoDecoder | BoxTracker]:
    """Return a new decoder for every row of the table."""

    def config(mode: str) -> DecodeConfig:
        return DecodeConfig(centroid=CentroidConfig(mode=CentroidMode(mode)))

    single = TrackConfig(temporal=False)
    return {
        "static (SM_c)": VideoDecoder(config("static"), single),
        "literal argmax (DM_c)": VideoDecoder(config("single"), single),
        "single, temporal": VideoDecoder(config("single")),
        "weighted, per frame": VideoDecoder(config("weighted"), single),
        DEFAULT: VideoDecoder(config("weighted")),
        "box tracker": BoxTracker(config("weighted"), MIN_SCORE),
    }


def ground_truth_fields(info: ModelInfo, rng: np.random.Generator, noise: float) -> RenderFields:
    """Make fields from the ground truth, with the errors of a network times ``noise``."""

    def render_fields(shot: ComposedFrame, stamp: float) -> Fields:
        seen = shot.seen()
        height, width = seen.owner.shape
        letterbox = Letterbox.fit((width, height), width, info.multiple)
        fields = oracle_fields(_batch(seen), info, letterbox)
        return noisy(fields, rng, noise) if noise else fields

    return render_fields


def network_fields(engine: Engine) -> RenderFields:
    """Make fields from the images with a network."""
    return lambda shot, stamp: engine(Frame(shot.image, stamp))


def _batch(shot: ComposedFrame) -> Batch:
    height, width = shot.owner.shape
    area = np.bincount(shot.owner.ravel(), minlength=len(shot.share) + 1)[1:]
    return Batch(
        image=torch.zeros(1, 3, height, width, dtype=torch.uint8),
        owner=torch.from_numpy(shot.owner)[None],
        ignore=torch.zeros(1, height, width, dtype=torch.uint8),
        keypoints=torch.from_numpy(shot.keypoints)[None],
        area=torch.from_numpy(area.astype(np.float32))[None],
        mask_weight=torch.ones(1, len(area)),
    )


def play(
    scenario: Scenario,
    render_fields: RenderFields,
    rng: np.random.Generator,
    on_frame: Callable[[float, ComposedFrame, People], None] = lambda stamp, shot, people: None,
) -> dict[str, ClipRecord]:
    """Process one clip with every method.

    Args:
        scenario: the clip.
        render_fields: makes the fields of a frame.
        rng: chooses the frames that are dropped.
        on_frame: is called with stamp, ground truth and people of the default method.
    """
    decoders = methods()
    records = {name: ClipRecord() for name in decoders}
    for stamp in scenario.stamps(rng).tolist():
        shot = scenario.clip.at(stamp)
        fields = render_fields(shot, stamp)
        found = find_poses(fields, keep_duplicates(decoders[DEFAULT].config))
        for name, decoder in decoders.items():
            people = _people(decoder, fields, found, stamp, shot.image)
            records[name].add(stamp, shot, people)
            if name == DEFAULT:
                on_frame(stamp, shot, people)
    return records


def _people(
    decoder: VideoDecoder | BoxTracker,
    fields: Fields,
    found: tuple[Poses, Centroids],
    stamp: float,
    image: np.ndarray,
) -> People:
    """Return the people of a frame; the skeletons are the same in every centroid mode."""
    if isinstance(decoder, BoxTracker):
        return decoder(fields, stamp)
    poses, centroids = found
    weight, primary = anchor_weights(centroids.confidence, poses, decoder.config.centroid)
    centroids = replace(centroids, weight=weight, primary=primary)
    return decoder.follow(fields, poses, centroids, stamp, image)


def figures(played: dict[str, dict[str, ClipRecord]]) -> dict[str, Any]:
    """Return the figures of every method over all clips and per clip; ``played`` is by clip."""
    names = list(next(iter(played.values())))
    clips = {
        clip: {name: summary([record]) for name, record in records.items()}
        for clip, records in played.items()
    }
    return {
        "all": {name: summary([records[name] for records in played.values()]) for name in names},
        "gains": {name: gains(clips, name) for name in names if name != DEFAULT},
        "clips": clips,
    }


def gains(clips: dict[str, dict[str, Any]], method: str) -> dict[str, list[float | None] | None]:
    """Return the gain of the default over a method: mean over clips, and its 95 % interval.

    Clips that differ only in the cast are resampled together, because they are not independent.
    The gain is None if fewer than two kinds of clips have the figure.
    """
    found: dict[str, list[float | None] | None] = {}
    for figure in GAINS:
        kinds: dict[str, list[float]] = {}
        for name, by_method in clips.items():
            ours, theirs = by_method[DEFAULT][figure], by_method[method][figure]
            if ours is not None and theirs is not None:
                kinds.setdefault(name.partition(CAST)[0], []).append(ours - theirs)
        several = len(kinds) > 1
        found[figure] = list(grouped(list(kinds.values()), DRAWS, np.mean)) if several else None
    return found


def markdown(result: dict[str, Any], title: str) -> str:
    """Return the tables of the benchmark as Markdown."""
    every = result["all"]
    head = [
        "method",
        "HOTA",
        "AssA",
        "IDF1",
        "id sw.",
        "at centroid sw.",
        "centroid sw./min",
        "on hidden",
        "jitter",
        "flicker",
    ]
    rows = [
        [
            name,
            f["HOTA"],
            f["AssA"],
            f["IDF1"],
            f["id_switches"],
            f["id_switches_at_centroid_switch"],
            f["centroid_switches_per_minute"],
            f["centroid_on_hidden"],
            f["jitter"],
            f["flicker_per_1000"],
        ]
        for name, f in every.items()
    ]
    bins = list(next(iter(every.values()))["iou_by_hidden"])
    iou = [
        [name, *(f["iou_by_hidden"][part] for part in bins), f["iou_half_hidden"]]
        for name, f in every.items()
    ]
    gaps = list(next(iter(every.values()))["regained"])
    back = [[name, *(_of(f["regained"][gap]) for gap in gaps)] for name, f in every.items()]
    better = [[name, *map(_gain, of.values())] for name, of in result["gains"].items()]
    parts = [
        f"# {title}",
        table(head, rows),
        "Mask IoU of the visible part with the person's own id, by hidden share",
        table(["method", *bins, "above 0.50"], iou),
        "People that regain their id within 0.5 s after a gap, by its length",
        table(["method", *gaps], back),
        "Gain of the default over each method, mean over clips (95 % interval over kinds of clips)",
        table(["method", *GAINS.values()], better),
    ]
    return "\n\n".join(parts) + "\n"


def drawings(result: dict[str, Any]) -> dict[str, str]:
    """Return plots as SVG by file name, without the rows that would hide others."""
    every = {name.partition(" (")[0]: figures for name, figures in result["all"].items()}
    every = {name: figures for name, figures in every.items() if name != "single, temporal"}
    return {
        "iou_by_hidden.svg": _plot(
            every, "iou_by_hidden", HIDDEN_BINS, "hidden share", "IoU of the visible part"
        ),
        "regained_by_gap.svg": _plot(
            every, "regained", GAP_BINS, "length of the gap, seconds", "share that regains its id"
        ),
    }


def _plot(every: dict[str, Any], name: str, edges: tuple[float, ...], x: str, y: str) -> str:
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    series = []
    for method, figures in every.items():
        values = [v["rate"] if isinstance(v, dict) else v for v in figures[name].values()]
        known = [(m, v) for m, v in zip(middles, values, strict=True) if v is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            series.append(Series(method, xs, ys))
    return curves(series, x, y) if series else ""


def _of(regained: dict[str, Any]) -> str:
    if not regained["gaps"]:
        return "-"
    return f"{round(regained['rate'] * regained['gaps'])} of {regained['gaps']}"


def _gain(values: Sequence[float] | None) -> str | None:
    if values is None:
        return None
    mean, low, high = values
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
