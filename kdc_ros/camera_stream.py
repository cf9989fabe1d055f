"""One camera: its subscription, its session, its outputs and its health."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from kdc_core.depth import lift_keypoints
from kdc_core.errors import InputError, is_user_error
from kdc_core.pipeline import Pipeline
from kdc_core.session import Session, Skip
from kdc_core.types import Frame, People
from kdc_ros import image_messages
from kdc_ros.adaptive_subscription import AdaptiveSubscription
from kdc_ros.depth_input import DepthInput, seconds
from kdc_ros.error_report import FrameErrors, describe
from kdc_ros.monitor import Monitor
from kdc_ros.outputs import Outputs
from kdc_ros.params import NodeConfig
from kdc_ros.person_messages import FrameResult
from kdc_ros.receiver import open_receiver
from kdc_ros.worker import NewestWorker

Arrival = tuple[Image | CompressedImage, float]  # message, time of arrival
#: items of the worker; None means that processing stopped and the bodies have to go
Worker = NewestWorker["CameraStream", Arrival | None]


class CameraStream:
    """Puts images into a worker, which calls ``work`` and ``fail`` on its own thread.

    Parameters are read anew for every image, so live ones act on the next image.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: Callable[[], NodeConfig],
        pipeline: Pipeline,
        topic: str,
        namespace: str,
        tag: str,
        other_bodies: Callable[[], list[str]] = list,
    ) -> None:
        """Create the outputs; images are received after ``open``.

        Args:
            node: the node that subscribes and publishes.
            config: returns the parameters.
            pipeline: engine and decoder; several cameras may share it.
            topic: of the images, before remapping, with the suffix of the transport.
            namespace: of the outputs.
            tag: first letters of the body ids, see ``body_id``.
            other_bodies: returns the ids of the bodies of other cameras.

        Raises:
            InputError: a parameter needs a package that is not installed, or a QoS override is
                wrong.
        """
        self.topic: str = node.resolve_topic_name(topic)  # for logs and diagnostics
        self.monitor = Monitor()
        self.outputs = Outputs(node, config, namespace, tag)
        self._node, self._config = node, config
        self._other_bodies = other_bodies
        self._session = Session(pipeline, config().min_score, config().tracking, warn=self._warn)
        self._errors = FrameErrors(self.topic, node.get_logger())
        self._worker: Worker | None = None
        self._dropped = 0  # by the worker before ``open``
        self._depth: DepthInput | None = None
        self._warned_of_frame_id = False
        self._images: AdaptiveSubscription[Image] | AdaptiveSubscription[CompressedImage]
        self._images = AdaptiveSubscription(
            node,
            CompressedImage if config().image_transport == "compressed" else Image,
            topic,
            config().image_reliability,
            1,
            self._receive,
            self._unreadable,
            open_receiver,
        )

    def open(self, worker: Worker) -> None:
        """Subscribe; images go to the worker.

        Raises:
            InputError: the name of a topic or its QoS is wrong.
        """
        self.monitor = Monitor()
        self._worker, self._dropped = worker, worker.dropped(self)
        if self._config().depth_topic:
            self._depth = DepthInput(self._node, self._config, self._depth_failed)
            try:
                self._depth.open()
            except InputError as error:
                raise InputError(f"depth from {error}") from None
        self._images.open()

    def close(self) -> None:
        """Unsubscribe, so that a disabled camera costs nothing."""
        self._images.close()
        if self._depth is not None:
            self._depth.close()
            self._depth = None

    def follow_publishers(self) -> None:
        """Subscribe anew where publishers offer another reliability."""
        warnings = [self._images.follow_publishers()]
        if self._depth is not None:
            warnings.append(self._depth.follow_publishers())
        for text in filter(None, warnings):
            self._node.get_logger().warning(text, throttle_duration_sec=30.0)
            self.monitor.warn(text)

    def has_stale_bodies(self) -> bool:
        """Return True if bodies are published although images stopped ``stale_after`` ago.

        An image that cannot be processed does not count.
        """
        return bool(self.outputs.body_ids) and self.monitor.silence() > self._config().stale_after

    def status(self, state: str, engine: str) -> DiagnosticStatus:
        """Return the health of the camera for /diagnostics."""
        dropped = self._worker.dropped(self) - self._dropped if self._worker else 0
        status = self.monitor.status(state, engine, dropped, self._config().stale_after)
        status.hardware_id = self.topic
        return status

    def publish_latched(self) -> None:
        """Publish the transient-local topics."""
        self.outputs.publish_latched(Header(stamp=self._node.get_clock().now().to_msg()))

    # on the worker's thread

    def work(self, arrival: Arrival | None) -> None:
        """Process an image and publish its people; None removes the bodies.

        Raises:
            InputError: the image is broken.
        """
        if arrival is None:  # disabled, or images have stopped
            self.outputs.clear(self._other_bodies())
            return
        message, arrived = arrival
        header = message.header
        stamp = seconds(header) or None  # drivers that do not stamp send 0
        self._session.min_score = self._config().min_score
        timing = self._session.check(stamp, arrived)
        if isinstance(timing, Skip):
            self.monitor.late()
            return
        frame_stamp = timing.time if stamp is None else stamp
        frame = Frame(_decode(message), frame_stamp, header.frame_id)
        result = self._session.process(frame, timing)
        points = self._keypoints_3d(result.people, header)
        self.outputs.publish(
            FrameResult(frame, header, result.people, points, result.switches),
            self._other_bodies(),
        )
        self.monitor.processed(arrived, len(result.people))

    def fail(self, error: Exception) -> None:
        """Report an exception of ``work``."""
        if not self._node.context.ok():  # during shutdown, publishing fails
            return
        self.monitor.failed(describe(error), internal=not is_user_error(error))
        self._errors.log(error)
        if self.has_stale_bodies():
            self.outputs.clear(self._other_bodies())

    def _keypoints_3d(self, people: People, header: Header) -> np.ndarray | None:
        """Return keypoints (P, 17, 3) in metres; None without depth, which is only a warning."""
        depth = self._depth  # ``close`` on another thread may set it to None
        if depth is None:
            return None
        try:
            points = lift_keypoints(people, depth.take(header))
        except InputError as error:
            self.monitor.warn(str(error))
            return None
        if not header.frame_id and not self._warned_of_frame_id:
            self._warned_of_frame_id = True
            self.monitor.warn(f"{self.topic}: images have no frame_id, so bodies get no TF frames")
        return points

    def _warn(self, text: str) -> None:
        """Report that the stamps of the camera are wrong."""
        text = f"{self.topic}: {text}"
        self._node.get_logger().warning(text, throttle_duration_sec=5.0)
        self.monitor.warn(text)

    # on the receiver's thread

    def _receive(self, message: Image | CompressedImage) -> None:
        if self._worker is not None:
            self._worker.put(self, (message, self.monitor.received()))

    def _unreadable(self, error: Exception) -> None:
        """Report a message that could not be read."""
        self.monitor.received()
        self.monitor.failed(f"{self.topic}: {describe(error)}", internal=not is_user_error(error))
        self._errors.log(error)

    def _depth_failed(self, error: Exception) -> None:
        self.monitor.warn(f"depth: {describe(error)}")
        self._errors.log(error)


def _decode(message: Image | CompressedImage) -> np.ndarray:
    """Return the image of a message, (H, W, 3) uint8 BGR."""
    if isinstance(message, CompressedImage):
        return image_messages.compressed_to_bgr(message)
    return image_messages.to_bgr(message)
