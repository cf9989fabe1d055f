"""People as vision_msgs, where that package is installed."""

from __future__ import annotations

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

from kdc_core.person_rows import best_first
from kdc_ros.person_messages import FrameResult

PERSON = 1  # class id of COCO


def detections(result: FrameResult) -> Detection2DArray:
    """Return bounding boxes, best score first; ids are those of the mask and of ``~/persons``."""
    people = result.people
    array = Detection2DArray(header=result.header)
    for row in best_first(people).tolist():
        x1, y1, x2, y2 = people.boxes[row].tolist()
        hypothesis = ObjectHypothesis(class_id=str(PERSON), score=float(people.score[row]))
        box = BoundingBox2D(size_x=x2 - x1, size_y=y2 - y1)
        # boxes are between pixel borders, and 0 is the centre of the first pixel: half a pixel off
        box.center.position.x, box.center.position.y = (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5
        array.detections.append(
            Detection2D(
                header=result.header,
                id=str(people.ids[row]),
                bbox=box,
                results=[ObjectHypothesisWithPose(hypothesis=hypothesis)],
            )
        )
    return array


def label_info(header: Header, min_score: float) -> LabelInfo:
    """Return the meaning of the class ids in ``detections`` and the score that they reach."""
    person = VisionClass(class_id=PERSON, class_name="person")
    return LabelInfo(header=header, class_map=[person], threshold=min_score)
