"""People → vision_msgs, where that package is installed."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    VisionClass,
)

from kdc_ros.person_messages import Result

PERSON = 1  # as in COCO


def detections(result: Result) -> Detection2DArray:
    """Boxes, best score first; ``id`` is the person's id, as in the mask and in ``~/persons``."""
    people = result.people
    best_first = np.argsort(-people.score, kind="stable").tolist()
    array = Detection2DArray(header=result.header)
    for row in best_first:
        x1, y1, x2, y2 = people.boxes[row].tolist()
        hypothesis = ObjectHypothesis(class_id=str(PERSON), score=float(people.score[row]))
        box = BoundingBox2D(size_x=x2 - x1, size_y=y2 - y1)
        # a box is made of pixel borders, its centre is in pixels: half a pixel between them
        box.center.position.x, box.center.position.y = (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5
        array.detections.append(
            Detection2D(
                header=result.header, id=str(people.ids[row]), bbox=box,
                results=[ObjectHypothesisWithPose(hypothesis=hypothesis)],
            )
        )  # fmt: skip
    return array


def label_info(header: Header, threshold: float) -> LabelInfo:
    """What the class in a detection means."""
    person = VisionClass(class_id=PERSON, class_name="person")
    return LabelInfo(header=header, class_map=[person], threshold=threshold)
