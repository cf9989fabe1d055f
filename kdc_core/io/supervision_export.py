"""Convert people to the types of the package ``supervision``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdc_core.types import People, Phase

if TYPE_CHECKING:
    import supervision


def to_supervision(people: People) -> tuple[supervision.Detections, supervision.KeyPoints]:
    """Return the people as ``supervision.Detections`` and ``supervision.KeyPoints``.

    Both keep the order of the rows. The detections have the boxes, the masks (P, H, W), the larger
    of both scores as confidence, class 0 ("person"), and the ids as ``tracker_id`` if the people
    are tracked. The key points have positions, confidences and visibility in COCO's order. The
    package is an extra: ``pip install 'supervision>=0.31'``.

    Raises:
        ModuleNotFoundError: supervision is not installed.
    """
    import supervision as sv

    count = len(people)
    tracked = bool((people.phase != Phase.UNTRACKED).any())
    confidence = np.maximum(people.score, people.mask_score).astype(np.float32)
    detections = sv.Detections(
        xyxy=people.boxes.astype(np.float32),
        mask=people.labels == people.ids[:, None, None],
        confidence=confidence,
        class_id=np.zeros(count, int),
        tracker_id=people.ids.astype(int) if tracked else None,
        data={"class_name": np.full(count, "person")},
    )
    key_points = sv.KeyPoints(
        xy=people.keypoints[..., :2].astype(np.float32),
        class_id=np.zeros(count, int),
        keypoint_confidence=people.keypoints[..., 2].astype(np.float32),
        detection_confidence=confidence,
        visible=people.visible,
    )
    return detections, key_points
