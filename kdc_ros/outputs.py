"""What the node publishes about one camera; each message is only made while somebody listens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import PublisherEventCallbacks  # its module is another in Humble
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from kdc_core.depth import place, turn
from kdc_core.errors import InputError
from kdc_msgs.msg import CentroidSwitch, Person, PersonArray
from kdc_ros import image_messages, markers, person_messages
from kdc_ros.params import NodeConfig
from kdc_ros.person_messages import Result

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def installed(package: str) -> bool:
    """Whether an optional ROS package can be imported."""
    return importlib.util.find_spec(package) is not None


def require(package: str, wanted_by: str) -> None:
    """Say how to get a package that a parameter needs.

    Raises:
        ValueError: it is not installed.
    """
    if not installed(package):
        name = package.replace("_", "-")
        raise InputError(f"{wanted_by}: needs {package}: apt install ros-$ROS_DISTRO-{name}")


class Outputs:
    """Topics below ``prefix``, such as ``~`` or ``/front/kdc``, and what is global: TF and bodies.

    ``tag`` is that of ``body_id``.
    """

    def __init__(self, node: LifecycleNode, prefix: str, tag: str) -> None:
        """Create the publishers.

        Raises:
            ValueError: a parameter asks for a package that is not installed.
        """
        config: NodeConfig = node.config
        if config.publish_hri:
            require("hri_msgs", "publish_hri")  # before there is anything to take away again
        self._node = node
        self._prefix = prefix
        self._tag = tag
        self._kept: list[Person] = []  # messages that are filled again
        self._label_info: LifecyclePublisher | None = None
        self._topics: list[tuple[LifecyclePublisher, Callable[[Result], Iterable[Any]]]] = []
        self._add("persons", PersonArray, 10, self._persons)
        self._add("events", CentroidSwitch, 50, person_messages.events)
        self._add("mask", Image, 5, _mask)
        self._add("skeletons", MarkerArray, 5, lambda result: [markers.skeletons(result)])
        self._add("overlay", Image, 5, _overlay)
        self._add("overlay/compressed", CompressedImage, 5, _overlay_jpeg)
        if installed("vision_msgs"):
            self._add_vision()
        self._tf = self._transforms() if config.depth_topic and installed("tf2_msgs") else None
        self.bodies = self._hri() if config.publish_hri else None

    def greet(self, header: Header) -> None:
        """Publish what late listeners get, after activation and when it has changed."""
        if self._label_info is not None:
            from kdc_ros.detections import label_info

            self._label_info.publish(label_info(header, self._node.config.min_score))

    def publish(self, result: Result, others: list[str]) -> None:
        """Everything that somebody listens to; ``others`` are the bodies of other cameras."""
        for publisher, make in self._topics:
            if publisher.get_subscription_count():
                for message in make(result):
                    publisher.publish(message)
        if self._tf is not None and result.points is not None and result.header.frame_id:
            self._tf.publish(self._tf.msg_type(transforms=self._frames(result)))
        if self.bodies is not None:
            self.bodies.publish(result, others)

    def rest(self, others: list[str]) -> None:
        """Nothing is looked at any more: nobody is tracked but by other cameras."""
        if self.bodies is not None:
            self.bodies.rest(others)

    @property
    def publishers(self) -> list[Publisher]:
        """All but those of single bodies."""
        own = self._own()
        return own if self.bodies is None else [*own, self.bodies.tracked]

    def destroy(self) -> None:
        """Take the topics away."""
        if self.bodies is not None:
            self.bodies.destroy()
        for publisher in self._own():
            self._node.destroy_lifecycle_publisher(publisher)

    def _own(self) -> list[LifecyclePublisher]:
        topics = [publisher for publisher, _ in self._topics]
        return [*topics, *filter(None, (self._label_info, self._tf))]

    def _create(self, kind: type, topic: str, qos: QoSProfile) -> LifecyclePublisher:
        """A publisher without rclpy's event handlers.

        They warn of listeners with other QoS, who are warned themselves, and every one of them
        costs time whenever a picture comes.
        """
        return self._node.create_lifecycle_publisher(
            kind, topic, qos, event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    def _add(
        self, name: str, kind: type, depth: int, make: Callable[[Result], Iterable[Any]]
    ) -> None:
        publisher = self._create(kind, f"{self._prefix}/{name}", QoSProfile(depth=depth))
        self._topics.append((publisher, make))

    def _add_vision(self) -> None:
        from vision_msgs.msg import Detection2DArray, LabelInfo

        from kdc_ros.detections import detections

        self._add("detections", Detection2DArray, 10, lambda result: [detections(result)])
        self._label_info = self._create(LabelInfo, f"{self._prefix}/label_info", LATCHED)

    def _transforms(self) -> LifecyclePublisher:
        from tf2_msgs.msg import TFMessage

        return self._create(TFMessage, "/tf", QoSProfile(depth=100))

    def _hri(self) -> Any:
        from kdc_ros.hri import Bodies

        return Bodies(self._node, self._tag)

    def _persons(self, result: Result) -> list[PersonArray]:
        return [person_messages.person_array(result, self._node.config.cropped_masks, self._kept)]

    def _frames(self, result: Result) -> list[TransformStamped]:
        """``body_<id>`` (REP 155) of everybody whose distance is known."""
        places = place(result.points)
        known = np.flatnonzero(np.isfinite(places).all(axis=1))
        if not len(known):
            return []
        places = places[known]
        turns = turn(result.points[known], places)
        frames = []
        for identity, at, by in zip(result.people.ids[known], places, turns, strict=True):
            frame = TransformStamped(header=result.header)
            frame.child_frame_id = f"body_{person_messages.body_id(self._tag, identity)}"
            moved, turned = frame.transform.translation, frame.transform.rotation
            moved.x, moved.y, moved.z = at.tolist()
            turned.x, turned.y, turned.z, turned.w = by.tolist()
            frames.append(frame)
        return frames


def _mask(result: Result) -> list[bytes]:
    return [image_messages.to_serialized(result.people.labels, "mono16", result.header)]


def _overlay(result: Result) -> list[bytes]:
    return [image_messages.to_serialized(result.overlay, "bgr8", result.header)]


def _overlay_jpeg(result: Result) -> list[CompressedImage]:
    return [image_messages.to_jpeg(result.overlay, result.header)]
