"""Write clips of synthetic people: a video, the ground truth of every frame, and a recording.

The ground truth comes in the forms that ``kdc replay`` reads: topics of the recording, a COCO
file with stamps, and MOTS text. In the recording, people that are not visible enough
(``coco.LEAST_SHARE``) are occluded: they have a position, but no pixels. In the other two forms
they are ignore regions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.skeleton import CENTRE
from kdc_core.system import each
from kdc_core.types import People, Phase
from kdc_lab.replay import cdr_messages
from kdc_lab.replay.clip_files import FRAME_ID, ClipFiles, ClipWriter
from kdc_lab.synth import (
    HIDDEN,
    SEEN,
    RenderedFrame,
    SynthConfig,
    annotate,
    background_for,
    clip,
    image_seed,
)

START = 1_000 * cdr_messages.NS  # ns, of the first frame; in ROS, 0 means "no stamp"


def write_clips(
    out: Path,
    count: int,
    seed: int,
    config: SynthConfig,
    backgrounds: list[Path],
    seconds: float,
    fps: float,
    workers: int = 0,
    step: Callable[[], Any] = lambda: None,
) -> dict[str, int]:
    """Write ``count`` clips to folders ``clip1``, ``clip2``, … in ``out``.

    Each folder gets ``clip.mp4``, ``truth.json`` (COCO, ``stamp_ns`` and ``track_id``),
    ``mots.txt`` and ``bag``. Their content depends on the arguments up to ``fps`` only. ``step`` is
    called after each clip.

    Returns:
        The numbers of ``clips``, ``frames`` and ``people`` (identities).
    """
    work = partial(_write_clip, out, seed, config, backgrounds, seconds, fps)
    frames = people = 0
    for of_one in each(work, range(count), workers):
        frames, people = frames + of_one[0], people + of_one[1]
        step()
    return {"clips": count, "frames": frames, "people": people}


def _write_clip(
    out: Path,
    seed: int,
    config: SynthConfig,
    backgrounds: list[Path],
    seconds: float,
    fps: float,
    index: int,
) -> tuple[int, int]:
    folder = out / f"clip{index + 1}"
    folder.mkdir(parents=True, exist_ok=True)
    own = image_seed(seed, index)
    names = ("clip.mp4", "bag", "truth.json", "mots.txt")
    writer = ClipWriter(ClipFiles(*(folder / name for name in names)), fps)
    identities: set[int] = set()
    try:
        for shot in clip(own, config, seconds, fps, background_for(backgrounds, own)):
            stamp = START + round(shot.stamp * cdr_messages.NS)
            _, people = annotate(shot, writer.frames + 1)
            message = cdr_messages.image_message(shot.image, cdr_messages.header(stamp, FRAME_ID))
            truth = people_of(shot, np.array([not p["iscrowd"] for p in people], bool))
            seen = [person for person in people if person["segmentation"]]
            writer.add(stamp, shot.image, message, truth, seen)
            identities |= set(shot.ids.tolist())
    finally:
        writer.close()
    return writer.frames, len(identities)


def people_of(shot: RenderedFrame, seen: np.ndarray) -> People:
    """Return the people of a frame as a perfect node reports them.

    People that are not ``seen`` (P,) are occluded.
    """
    count = len(shot)
    v = shot.keypoints[..., 2]
    value = np.concatenate([[0], np.where(seen, shot.ids, 0)]).astype(np.uint16)
    labels = value[shot.labels]
    boxes, centres = shot.box.copy(), (shot.box[:, :2] + shot.box[:, 2:] - 1) / 2
    for row in np.flatnonzero(seen):
        y, x = np.nonzero(shot.labels == row + 1)
        boxes[row] = x.min(), y.min(), x.max() + 1, y.max() + 1
        centres[row] = x.mean(), y.mean()
    return People(
        ids=shot.ids,
        score=np.ones(count, np.float32),
        mask_score=np.ones(count, np.float32),
        keypoints=np.concatenate([shot.keypoints[..., :2], v[..., None] >= HIDDEN], axis=2),
        visible=(v == SEEN) & seen[:, None],
        boxes=boxes,
        centroid=np.full(count, CENTRE),
        centroid_xy=centres,
        labels=labels,
        phase=np.where(seen, Phase.CONFIRMED, Phase.OCCLUDED).astype(np.uint8),
    )
