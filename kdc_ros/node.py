"""The node: pictures in, masks and people out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from kdc_core import draw
from kdc_core.engines import open_engine
from kdc_core.pipeline import Pipeline
from kdc_core.types import Frame
from kdc_msgs.msg import PersonArray
from kdc_ros import images, messages, params
from kdc_ros.monitor import Monitor
from kdc_ros.process import run
from kdc_ros.worker import NewestWorker

LOOK_EVERY = 0.25  # seconds between looks at what the publishers of the input offer


def open_pipeline(config: params.NodeConfig) -> Pipeline:
    """Load the network that the parameters name."""
    engine = open_engine(
        config.engine, config.model_path, threads=config.threads,
        long_side=config.long_side or None,
    )  # fmt: skip
    return Pipeline(engine, config.decode)


class KdcNode(LifecycleNode):
    """Configured: the network is loaded. Active: subscribed, one worker thread on the newest frame.

    ``open_pipeline`` makes the pipeline from the parameters; tests give a simpler one.
    """

    def __init__(
        self, open_pipeline: Callable[[params.NodeConfig], Pipeline] = open_pipeline, **kwargs: Any
    ) -> None:
        """Declare the parameters.

        Raises:
            ValueError: a parameter's value is wrong.
        """
        super().__init__("kdc", **kwargs)
        self._open_pipeline = open_pipeline
        self.config = params.declare(self)
        self.add_on_set_parameters_callback(self._set_parameters)
        self._pipeline: Pipeline | None = None
        self._worker: NewestWorker | None = None
        self._subscription = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._monitor = Monitor()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on while a simulation pauses
        self.create_timer(1.0, self._diagnose, clock=steady)
        self.create_timer(LOOK_EVERY, self._follow_publishers, clock=steady)

    def start(self) -> None:
        """Configure and activate if ``autostart`` says so.

        Raises:
            ValueError: that failed; the reason has been logged.
        """
        if not self.config.autostart:
            return
        done = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != done or self.trigger_activate() != done:
            raise ValueError("could not start, see the error above")

    # lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, create the outputs."""
        try:
            self._pipeline = self._open_pipeline(self.config)
        except Exception as error:  # rclpy would swallow it without a word
            self.get_logger().error(f"{error}" or type(error).__name__)
            return TransitionCallbackReturn.FAILURE
        options = QoSOverridingOptions.with_default_policies()
        self._outputs = {
            name: self.create_lifecycle_publisher(
                kind, f"~/{name}", QoSProfile(depth=depth), qos_overriding_options=options
            )
            for name, kind, depth in (
                ("persons", PersonArray, 10), ("mask", Image, 5), ("overlay", Image, 5)
            )
        }  # fmt: skip
        self.get_logger().info(f"network: {self._pipeline.engine.name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        done = super().on_activate(state)
        self._monitor = Monitor()
        self._worker = NewestWorker(self._process, self._failed)
        self._subscribe(self._wanted_reliability())
        self.get_logger().info(f"waiting for pictures on {self._input_topic()}")
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the worker."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the network back."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivate and clean up, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: back to unconfigured."""
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the worker before what it publishes with goes away."""
        self._release()
        super().destroy_node()

    def _stop(self) -> None:
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the network did not finish its last picture in 5 s")
        self._worker = None

    def _release(self) -> None:
        self._stop()
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None
            for publisher in self._outputs.values():
                self.destroy_lifecycle_publisher(publisher)

    # input

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        """Subscribe, anew if need be.

        Its reliability has a parameter of its own and must be able to change: not overridable.
        """
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
        self._reliability = reliability
        kind = CompressedImage if self.config.image_transport == "compressed" else Image
        self._subscription = self.create_subscription(
            kind, self._input_topic(), self._receive,
            QoSProfile(depth=1, reliability=reliability),
            qos_overriding_options=QoSOverridingOptions(
                (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
            ),
        )  # fmt: skip

    def _input_topic(self) -> str:
        """The remapping of ``image_raw``, then the transport's suffix, as image_transport does."""
        compressed = self.config.image_transport == "compressed"
        return self.resolve_topic_name("image_raw") + ("/compressed" if compressed else "")

    def _wanted_reliability(self) -> ReliabilityPolicy:
        """Reliable if asked for, or if every publisher that is there now offers it."""
        asked = self.config.image_reliability
        if asked != "auto":
            return ReliabilityPolicy[asked.upper()]
        publishers = self.get_publishers_info_by_topic(self._input_topic())
        offers = {one.qos_profile.reliability for one in publishers}
        if not offers:
            return self._reliability
        reliable = offers == {ReliabilityPolicy.RELIABLE}
        return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

    def _follow_publishers(self) -> None:
        """Cameras come and go: large pictures only arrive whole when reliability is used."""
        if self._subscription is None:
            return
        wanted = self._wanted_reliability()
        if wanted != self._reliability:
            self.get_logger().info(f"the input's publishers offer {wanted.name.lower()}")
            self._subscribe(wanted)

    def _receive(self, message: Image | CompressedImage) -> None:
        """Runs in the executor: only keeps the message, which is replaced by a newer one."""
        if self._worker is not None:
            self._worker.put((message, self._monitor.received()))

    # work, on the worker's thread

    def _process(self, item: tuple[Image | CompressedImage, float]) -> None:
        message, arrived = item
        decode = images.to_bgr if isinstance(message, Image) else images.compressed_to_bgr
        header = message.header
        stamp = header.stamp.sec + header.stamp.nanosec * 1e-9
        frame = Frame(decode(message), stamp, header.frame_id)
        people = self._pipeline(frame)
        self._outputs["persons"].publish(messages.person_array(people, header))
        if self._outputs["mask"].get_subscription_count():
            self._outputs["mask"].publish(images.to_message(people.labels, "mono16", header))
        self._monitor.processed(arrived, len(people))
        if self._outputs["overlay"].get_subscription_count():
            picture = draw.overlay(frame.image, people)
            self._outputs["overlay"].publish(images.to_message(picture, "bgr8", header))

    def _failed(self, error: Exception) -> None:
        if self.context.ok():  # during shutdown publishing fails, and that is no news
            self._monitor.failed(f"{error}" or type(error).__name__)
            self.get_logger().warning(f"picture skipped: {error}", throttle_duration_sec=5.0)

    # around it

    def _set_parameters(self, wanted: list[Parameter]) -> SetParametersResult:
        try:
            self.config = params.changed(self.config, wanted, self._pipeline is not None)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._pipeline is not None:
            self._pipeline.config = self.config.decode
        return SetParametersResult(successful=True)

    def _diagnose(self) -> None:
        state = self._state_machine.current_state[1]
        engine = self._pipeline.engine.name if self._pipeline else ""
        dropped = self._worker.dropped if self._worker else 0
        status = self._monitor.status(state, engine, dropped, self.config.stale_after)
        status.name = self.get_fully_qualified_name()
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main(open_pipeline: Callable[[params.NodeConfig], Pipeline] = open_pipeline) -> None:
    """Run the node until it is told to stop; exit code 2 when it cannot start."""

    def make() -> KdcNode:
        node = KdcNode(open_pipeline)
        node.start()
        return node

    sys.exit(run(make))


if __name__ == "__main__":
    main()
