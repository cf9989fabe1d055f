"""One camera: its subscription, its people over time, its outputs, its health."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from kdc_core.depth import lift
from kdc_core.errors import InputError
from kdc_core.pipeline import Pipeline
from kdc_core.session import Session, Skip
from kdc_core.types import Frame, People
from kdc_ros import image_messages
from kdc_ros.depth_input import DepthInput, seconds
from kdc_ros.monitor import Monitor
from kdc_ros.node_process import one_line
from kdc_ros.outputs import Outputs
from kdc_ros.params import NodeConfig
from kdc_ros.person_messages import Result
from kdc_ros.qos import offers, wanted
from kdc_ros.receiver import Receiver
from kdc_ros.worker import NewestWorker

Arrival = tuple[Image | CompressedImage, float]  # message, when it came


class Stream:
    """Receives in a thread of its own, works in the worker's.

    ``node.config`` is read for every picture: live parameters act on the next one.
    """

    def __init__(self, node: LifecycleNode, topic: str, prefix: str, tag: str) -> None:
        """Create the outputs; pictures come after ``open``.

        Args:
            node: whose subscriptions and publishers these will be.
            topic: of the pictures, before remapping, with the transport's suffix.
            prefix: where the outputs go.
            tag: as in ``body_id``.

        Raises:
            ValueError: a parameter asks for a package that is not installed.
        """
        self.topic = node.resolve_topic_name(topic)  # for people to read
        self._asked = topic  # rclpy remaps it itself, and a second time it may be another one's
        self.monitor = Monitor()
        self.outputs = Outputs(node, prefix, tag)
        self._node = node
        self._session: Session | None = None  # made with the first frame
        self._worker: NewestWorker[Stream, Arrival | None] | None = None
        self._dropped = 0  # by the worker before ``open``
        self._receiver: Receiver[Image] | Receiver[CompressedImage] | None = None
        self._depth: DepthInput | None = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._nowhere = False  # it has been said that pictures have no frame

    def open(self, worker: NewestWorker[Stream, Arrival | None]) -> None:
        """Subscribe; pictures go to the worker.

        Raises:
            ValueError: a topic or a QoS of the depth camera is wrong.
        """
        config = self._node.config
        self.monitor = Monitor()
        self._worker, self._dropped = worker, worker.dropped(self)
        if config.depth_topic:
            self._depth = DepthInput(
                self._node, config.depth_topic, config.depth_info_topic, config.image_reliability
            )
            try:
                self._depth.open()
            except Exception as error:  # rclpy's words do not say of which topic
                topics = f"{config.depth_topic}, {config.depth_info_topic}"
                raise InputError(f"depth from {topics}: {one_line(error)}") from None
        offered = offers(self._node, self._asked)
        self._subscribe(wanted(config.image_reliability, offered, self._reliability))

    def close(self) -> None:
        """Unsubscribe: without a camera there is nothing to do, and nothing is done."""
        self._unsubscribe()
        if self._depth is not None:
            self._depth.close()
            self._depth = None

    def follow_publishers(self) -> None:
        """Cameras come and go, and offer one reliability or the other."""
        if self._receiver is None:
            return
        if self._depth is not None:
            self._depth.follow_publishers()
        asked = self._node.config.image_reliability
        offered = offers(self._node, self._asked)
        best = wanted(asked, offered, self._reliability)
        if asked == "reliable" and ReliabilityPolicy.BEST_EFFORT in offered:
            text = f"{self.topic}: reliable is asked for, a publisher offers best effort only"
            self._node.get_logger().warning(text, throttle_duration_sec=30.0)
            self.monitor.complained(text)
        if best != self._reliability:
            self._node.get_logger().info(f"{self.topic}: publishers offer {best.name.lower()}")
            self._unsubscribe()
            self._subscribe(best)

    def forsaken(self) -> bool:
        """Whether bodies are there, and no picture that could be processed for ``stale_after``."""
        bodies = self.outputs.bodies
        there = bodies is not None and bool(bodies.ids)
        return there and self.monitor.silence() > self._node.config.stale_after

    def status(self, state: str, engine: str) -> DiagnosticStatus:
        """How it goes, for /diagnostics."""
        dropped = self._worker.dropped(self) - self._dropped if self._worker else 0
        return self.monitor.status(state, engine, dropped, self._node.config.stale_after)

    def process(self, pipeline: Pipeline, arrival: Arrival, others: list[str]) -> None:
        """A picture to people and out; ``others`` are the bodies of other cameras.

        Raises:
            ValueError: the picture is broken.
        """
        message, arrived = arrival
        decode = (
            image_messages.to_bgr
            if isinstance(message, Image)
            else image_messages.compressed_to_bgr
        )
        header = message.header
        session = self._session_for(pipeline)
        stamp = seconds(header) or None
        timing = session.check(stamp, arrived)
        if isinstance(timing, Skip):
            self.monitor.late()
            return
        frame = Frame(decode(message), timing.time if stamp is None else stamp, header.frame_id)
        result = session.process(frame, timing)
        people = result.people
        points = self._points(people, message) if self._depth is not None else None
        self.outputs.publish(Result(frame, header, people, points, result.switches), others)
        self.monitor.processed(arrived, len(people))

    def _session_for(self, pipeline: Pipeline) -> Session:
        """Return the session; parameters act on the next frame."""
        config: NodeConfig = self._node.config
        if self._session is None or self._session.pipeline is not pipeline:
            self._session = Session(
                pipeline, config.min_score, config.tracking, warn=self._warn_of_stamps
            )
        self._session.min_score = config.min_score
        return self._session

    def _warn_of_stamps(self, text: str) -> None:
        text = f"{self.topic}: {text}"
        self._node.get_logger().warning(text, throttle_duration_sec=5.0)
        self.monitor.complained(text)

    def _points(self, people: People, message: Image | CompressedImage) -> np.ndarray | None:
        """Keypoints in space; people without them are better than none."""
        depth = self._depth
        if depth is None:  # closed meanwhile
            return None
        try:
            points = lift(people, depth.take(message.header, self._node.config.depth_slop))
        except ValueError as error:
            self.monitor.complained(str(error))
            return None
        if not message.header.frame_id and not self._nowhere:
            self._nowhere = True
            self.monitor.complained(f"{self.topic}: no frame_id, so there are no frames of bodies")
        return points

    def _unsubscribe(self) -> None:
        if self._receiver is not None:
            self._receiver.destroy()
            self._receiver = None

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        """Subscribe; its reliability has a parameter of its own and can change: no override."""
        self._reliability = reliability
        compressed = self._node.config.image_transport == "compressed"
        self._receiver = Receiver(
            self._node, CompressedImage if compressed else Image, self._asked,
            self._receive, self._unreadable,
            qos_profile=QoSProfile(depth=1, reliability=reliability),
            qos_overriding_options=QoSOverridingOptions(
                (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
            ),
        )  # fmt: skip

    def _receive(self, message: Image | CompressedImage) -> None:
        """Runs in the receiver: only keeps the message, which is replaced by a newer one."""
        if self._worker is not None:
            self._worker.put(self, (message, self.monitor.received()))

    def _unreadable(self, error: Exception) -> None:
        """What came could not be taken from the middleware."""
        self.monitor.received()
        self.monitor.failed(f"{self.topic}: {one_line(error)}")


def places(topics: list[str], own: str) -> list[str]:
    """Where the outputs of cameras go, whose topics are resolved.

    One camera's outputs are the node's own; those of several are in each camera's namespace,
    below the node's name ``own``.

    Raises:
        ValueError: two cameras are in one namespace.
    """
    if len(topics) == 1:
        return ["~"]
    spaces = [topic.rpartition("/")[0] for topic in topics]
    if len(set(spaces)) < len(spaces):
        raise InputError(
            f"image_topics: expected every camera in a namespace of its own, got {topics}"
        )
    return [f"{space}/{own}" for space in spaces]
