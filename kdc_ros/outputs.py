"""Topics of one camera's results. Each is made only for topics with subscribers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import PublisherEventCallbacks  # Humble has them in another module
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from kdc_core.depth import body_orientations, body_positions
from kdc_core.errors import InputError
from kdc_msgs.msg import CentroidSwitch, Person, PersonArray
from kdc_ros import image_messages, markers, person_messages
from kdc_ros.error_report import given_by_user
from kdc_ros.params import NodeConfig
from kdc_ros.person_messages import FrameResult

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class BodyOutputs(Protocol):
    """``hri.Bodies``, which can only be imported where hri_msgs is installed."""

    tracked: Publisher

    @property
    def ids(self) -> list[str]:
        """Ids of the bodies that are published now."""
        ...

    def publish(self, result: FrameResult, others: list[str]) -> None:
        """Publish the bodies of one frame."""
        ...

    def clear(self, others: list[str]) -> None:
        """Remove all bodies."""
        ...

    def destroy(self) -> None:
        """Destroy all publishers."""
        ...


def is_installed(package: str) -> bool:
    """Return True if an optional ROS package can be imported."""
    return importlib.util.find_spec(package) is not None


def require(package: str, parameter: str) -> None:
    """Check that a package which a parameter needs is installed.

    Raises:
        InputError: it is not; the message names the apt package.
    """
    if not is_installed(package):
        name = package.replace("_", "-")
        raise InputError(f"{parameter}: needs {package}: apt install ros-$ROS_DISTRO-{name}")


class Outputs:
    """Publishers of one camera in a namespace, and those that all cameras share: TF and bodies."""

    def __init__(
        self, node: LifecycleNode, config: Callable[[], NodeConfig], namespace: str, tag: str
    ) -> None:
        """Create the publishers.

        Args:
            node: the node that publishes.
            config: returns the parameters; live ones may change.
            namespace: of the topics, such as ``/kdc`` or ``/front/kdc``.
            tag: first letters of the body ids, see ``body_id``.

        Raises:
            InputError: a parameter needs a package that is not installed, or a QoS override is
                wrong.
        """
        if config().publish_hri:
            require("hri_msgs", "publish_hri")  # before there is anything to destroy
        self._node, self._config = node, config
        self._namespace = namespace
        self._tag = tag
        self._reused: list[Person] = []  # messages that are filled again
        self._label_info: LifecyclePublisher | None = None
        self._topics: list[tuple[Any, Callable[[FrameResult], Iterable[Any]]]] = []
        self._add("persons", PersonArray, 10, self._persons)
        self._add("events", CentroidSwitch, 50, person_messages.events)
        self._add("mask", Image, 5, _mask)
        self._add("skeletons", MarkerArray, 5, lambda result: [markers.skeletons(result)])
        self._add("overlay", Image, 5, _overlay)
        self._add("overlay/compressed", CompressedImage, 5, _overlay_jpeg)
        if is_installed("vision_msgs"):
            self._add_vision()
        self._tf: Any = None
        if config().depth_topic and is_installed("tf2_msgs"):
            self._tf = self._transforms()
        self.bodies: BodyOutputs | None = self._bodies() if config().publish_hri else None

    @property
    def body_ids(self) -> list[str]:
        """Ids of the bodies that are published now."""
        return [] if self.bodies is None else self.bodies.ids

    def publish_latched(self, header: Header) -> None:
        """Publish the transient-local topics: after activation, and when their content changes."""
        if self._label_info is not None:
            from kdc_ros.detections import label_info

            self._label_info.publish(label_info(header, self._config().min_score))

    def publish(self, result: FrameResult, others: list[str]) -> None:
        """Publish the results of one frame on all topics that have subscribers.

        Args:
            result: of the frame.
            others: ids of the bodies of other cameras.
        """
        for publisher, make in self._topics:
            if publisher.get_subscription_count():
                for message in make(result):
                    publisher.publish(message)
        if self._tf is not None and result.points is not None and result.header.frame_id:
            frames = self._body_frames(result, result.points)
            self._tf.publish(self._tf.msg_type(transforms=frames))
        if self.bodies is not None:
            self.bodies.publish(result, others)

    def clear(self, others: list[str]) -> None:
        """Processing stopped: report that this camera tracks no one.

        Args:
            others: ids of the bodies of other cameras.
        """
        if self.bodies is not None:
            self.bodies.clear(others)

    @property
    def publishers(self) -> list[Publisher]:
        """All publishers except those of single bodies."""
        shared = [] if self.bodies is None else [self.bodies.tracked]
        return [*self._own(), *shared]

    def destroy(self) -> None:
        """Destroy all publishers."""
        if self.bodies is not None:
            self.bodies.destroy()
        for publisher in self._own():
            self._node.destroy_lifecycle_publisher(publisher)

    def _own(self) -> list[Any]:
        optional = (self._label_info, self._tf)
        return [publisher for publisher, _ in self._topics] + [
            publisher for publisher in optional if publisher is not None
        ]

    def _create(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        """Create a publisher without rclpy's event handlers.

        They warn of subscribers with an incompatible QoS, which get a warning themselves, and each
        of them costs time for every image.
        """
        with given_by_user(topic):
            return self._node.create_lifecycle_publisher(
                kind,
                topic,
                qos,
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )

    def _add(
        self, name: str, kind: type, depth: int, make: Callable[[FrameResult], Iterable[Any]]
    ) -> None:
        publisher = self._create(kind, f"{self._namespace}/{name}", QoSProfile(depth=depth))
        self._topics.append((publisher, make))

    def _add_vision(self) -> None:
        from vision_msgs.msg import Detection2DArray, LabelInfo

        from kdc_ros.detections import detections

        self._add("detections", Detection2DArray, 10, lambda result: [detections(result)])
        self._label_info = self._create(LabelInfo, f"{self._namespace}/label_info", LATCHED)

    def _transforms(self) -> Any:
        from tf2_msgs.msg import TFMessage

        return self._create(TFMessage, "/tf", QoSProfile(depth=100))

    def _bodies(self) -> BodyOutputs:
        from kdc_ros.hri import Bodies

        return Bodies(self._node, self._tag)

    def _persons(self, result: FrameResult) -> list[PersonArray]:
        return [person_messages.person_array(result, self._config().cropped_masks, self._reused)]

    def _body_frames(self, result: FrameResult, points: np.ndarray) -> list[TransformStamped]:
        """Return ``body_<id>`` (REP 155) of every person whose distance is known."""
        positions = body_positions(points)
        known = np.flatnonzero(np.isfinite(positions).all(axis=1))
        if not len(known):
            return []
        positions = positions[known]
        rotations = body_orientations(points[known], positions)
        frames = []
        for identity, position, quaternion in zip(
            result.people.ids[known], positions, rotations, strict=True
        ):
            frame = TransformStamped(header=result.header)
            frame.child_frame_id = f"body_{person_messages.body_id(self._tag, identity)}"
            moved, turned = frame.transform.translation, frame.transform.rotation
            moved.x, moved.y, moved.z = position.tolist()
            turned.x, turned.y, turned.z, turned.w = quaternion.tolist()
            frames.append(frame)
        return frames


def _mask(result: FrameResult) -> list[bytes]:
    return [image_messages.to_serialized(result.people.labels, "mono16", result.header)]


def _overlay(result: FrameResult) -> list[bytes]:
    return [image_messages.to_serialized(result.overlay, "bgr8", result.header)]


def _overlay_jpeg(result: FrameResult) -> list[CompressedImage]:
    return [image_messages.to_jpeg(result.overlay, result.header)]
