"""People as bodies of ROS4HRI (REP 155), where hri_msgs is installed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hri_msgs.msg import (
    IdsList,
    NormalizedPointOfInterest2D,
    NormalizedRegionOfInterest2D,
    Skeleton2D,
)
from rclpy.node import Node, PublisherEventCallbacks  # Humble has them in another module
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image

from kdc_core.types import People
from kdc_ros.image_messages import to_message
from kdc_ros.person_messages import FrameResult, body_id

BODIES = "/humans/bodies"
#: index in Skeleton2D: index of the same keypoint in COCO. COCO has no NECK
COCO = {
    Skeleton2D.NOSE: 0,
    Skeleton2D.RIGHT_SHOULDER: 6,
    Skeleton2D.RIGHT_ELBOW: 8,
    Skeleton2D.RIGHT_WRIST: 10,
    Skeleton2D.LEFT_SHOULDER: 5,
    Skeleton2D.LEFT_ELBOW: 7,
    Skeleton2D.LEFT_WRIST: 9,
    Skeleton2D.RIGHT_HIP: 12,
    Skeleton2D.RIGHT_KNEE: 14,
    Skeleton2D.RIGHT_ANKLE: 16,
    Skeleton2D.LEFT_HIP: 11,
    Skeleton2D.LEFT_KNEE: 13,
    Skeleton2D.LEFT_ANKLE: 15,
    Skeleton2D.LEFT_EYE: 1,
    Skeleton2D.RIGHT_EYE: 2,
    Skeleton2D.LEFT_EAR: 3,
    Skeleton2D.RIGHT_EAR: 4,
}
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6


@dataclass(frozen=True)
class Body:
    """Publishers of one body."""

    roi: Publisher
    cropped: Publisher
    skeleton: Publisher


class Bodies:
    """Publishes the bodies of one camera; each person has topics while it is tracked.

    Use it from one thread. Topics of single bodies have no QoS overrides, because the parameters
    of all people that were ever seen would add up.
    """

    def __init__(self, node: Node, tag: str) -> None:
        """``tag`` is the first part of the ids, see ``body_id``."""
        self._node = node
        self.tracked = node.create_publisher(
            IdsList,
            f"{BODIES}/tracked",
            QoSProfile(depth=1),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._tag = tag
        self._bodies: dict[str, Body] = {}

    @property
    def ids(self) -> list[str]:
        """Ids of the bodies that are published now."""
        return list(self._bodies)

    def publish(self, result: FrameResult, others: list[str]) -> None:
        """Publish the bodies of one frame.

        Args:
            result: of the frame.
            others: ids of the bodies of other cameras.
        """
        people = result.people
        ids = [body_id(self._tag, identity) for identity in people.ids.tolist()]
        for gone in self._bodies.keys() - set(ids):
            self._remove(gone)
        for row, name in enumerate(ids):
            body = self._bodies.get(name) or self._add(name)
            if body.roi.get_subscription_count():
                body.roi.publish(roi(result, row))
            if body.cropped.get_subscription_count():
                body.cropped.publish(cropped(result, row))
            if body.skeleton.get_subscription_count():
                body.skeleton.publish(skeleton(result, row))
        self.tracked.publish(IdsList(header=result.header, ids=others + ids))

    def clear(self, others: list[str]) -> None:
        """Remove all bodies; only ``others``, those of other cameras, are still tracked."""
        for name in self.ids:
            self._remove(name)
        self.tracked.publish(IdsList(ids=others))

    def destroy(self) -> None:
        """Destroy all publishers."""
        for name in self.ids:
            self._remove(name)
        self._node.destroy_publisher(self.tracked)

    def _add(self, name: str) -> Body:
        topics = (
            (NormalizedRegionOfInterest2D, "roi"),
            (Image, "cropped"),
            (Skeleton2D, "skeleton2d"),
        )
        # without event handlers: the executor's thread might wait for one that is destroyed here
        body = Body(
            *(
                self._node.create_publisher(
                    kind,
                    f"{BODIES}/{name}/{topic}",
                    QoSProfile(depth=1),
                    event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
                )
                for kind, topic in topics
            )
        )
        self._bodies[name] = body
        return body

    def _remove(self, name: str) -> None:
        body = self._bodies.pop(name)
        for publisher in (body.roi, body.cropped, body.skeleton):
            self._node.destroy_publisher(publisher)


def roi(result: FrameResult, row: int) -> NormalizedRegionOfInterest2D:
    """Return the box of a person, as shares of the image's size, 0 to 1."""
    people = result.people
    height, width = people.labels.shape
    box = (people.boxes[row] / (width, height, width, height)).clip(0, 1)
    x1, y1, x2, y2 = box.tolist()
    return NormalizedRegionOfInterest2D(
        header=result.header, xmin=x1, ymin=y1, xmax=x2, ymax=y2, c=_share(people.score[row])
    )


def cropped(result: FrameResult, row: int) -> Image:
    """Return the part of the image inside the box of a person, at least one pixel."""
    image = result.frame.image
    height, width = image.shape[:2]
    x1, y1, x2, y2 = result.people.boxes[row].tolist()
    x1, y1 = min(max(int(x1), 0), width - 1), min(max(int(y1), 0), height - 1)
    x2, y2 = min(max(round(x2), x1 + 1), width), min(max(round(y2), y1 + 1), height)
    return to_message(image[y1:y2, x1:x2], "bgr8", result.header)


def skeleton(result: FrameResult, row: int) -> Skeleton2D:
    """Return 18 points, as shares of the image's size, 0 to 1.

    The neck is between the shoulders, with the smaller of their scores. Points outside the image
    are zero.
    """
    points = _normalised(result.people, row)
    body = np.zeros((18, 3))
    body[list(COCO)] = points[list(COCO.values())]
    shoulders = points[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    body[Skeleton2D.NECK, :2] = shoulders[:, :2].mean(axis=0)
    body[Skeleton2D.NECK, 2] = shoulders[:, 2].min()
    body[(body[:, :2] < 0).any(axis=1) | (body[:, :2] > 1).any(axis=1)] = 0  # out of view
    return Skeleton2D(
        header=result.header,
        skeleton=[NormalizedPointOfInterest2D(x=x, y=y, c=c) for x, y, c in body.tolist()],
    )


def _normalised(people: People, row: int) -> np.ndarray:
    """Return keypoints (17, 3): x and y as shares of the image's size, score."""
    height, width = people.labels.shape
    points: np.ndarray = people.keypoints[row].astype(float)
    points[:, :2] = (points[:, :2] + 0.5) / (width, height)
    points[:, 2] = points[:, 2].clip(0, 1)
    return points


def _share(value: float) -> float:
    """Return a value clipped to 0 to 1."""
    return float(min(max(value, 0.0), 1.0))
