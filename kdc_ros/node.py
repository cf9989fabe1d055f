"""The node: pictures in, masks and people out."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from string import ascii_lowercase
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from kdc_core import pipeline as core
from kdc_core.engines import open_engine
from kdc_core.errors import InputError
from kdc_core.pipeline import Pipeline
from kdc_ros import params
from kdc_ros.camera_stream import Arrival, Stream, places
from kdc_ros.node_process import one_line, run
from kdc_ros.qos import settle
from kdc_ros.worker import NewestWorker

LOOK_EVERY = 0.5  # seconds between looks at what the publishers of the input offer


def open_pipeline(config: params.NodeConfig) -> Pipeline:
    """Load the network that the parameters name."""
    engine = open_engine(
        config.engine_name, config.model_path, threads=config.threads,
        long_side=config.long_side or None,
    )  # fmt: skip
    return core.open_pipeline(engine, config.decode)


class KdcNode(LifecycleNode):
    """Configured: the network is loaded. Active: subscribed, one worker thread on the newest frame.

    One network serves all cameras in turn. ``open_pipeline`` makes the pipeline from the
    parameters; tests give a simpler one.
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
        self._worker: NewestWorker[Stream, Arrival | None] | None = None
        self._streams: list[Stream] = []
        self._enabled = True
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", 10,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        self.create_service(SetBool, "~/enable", self._enable)
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
            raise InputError("could not start, see the error above")

    # lifecycle

    def _LifecycleNodeMixin__change_state(self, transition: int) -> TransitionCallbackReturn:
        """Refuse what is not available now: rclpy raises, and the process ends."""
        machine = self._state_machine
        if transition not in (number for number, *_ in machine.available_transitions):
            state = machine.current_state[1]
            self.get_logger().error(f"transition {transition}: not available while {state}")
            return TransitionCallbackReturn.FAILURE
        return super()._LifecycleNodeMixin__change_state(transition)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, create the outputs."""
        try:
            self._pipeline = self._open_pipeline(self.config)
            self._open_streams()
        except Exception as error:  # rclpy would swallow it without a word
            self.get_logger().error(one_line(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(f"network: {self._pipeline.engine.name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        done = super().on_activate(state)
        try:
            self._worker = NewestWorker(self._process, self._failed)
            for stream in self._streams:
                stream.outputs.greet(Header(stamp=self.get_clock().now().to_msg()))
                if self._enabled:
                    stream.open(self._worker)
                doing = "waiting for pictures on" if self._enabled else "switched off:"
                self.get_logger().info(f"{doing} {stream.topic}")
        except Exception as error:  # as in on_configure
            self.get_logger().error(one_line(error))
            self._stop()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
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

    def _open_streams(self) -> None:
        topics = [self.resolve_topic_name(topic) for topic in self.config.image_topics]
        compressed = self.config.image_transport == "compressed"
        # rclpy remaps what it subscribes to. The transport's suffix comes after the remapping, as
        # image_transport does it
        asked = [f"{one}/compressed" for one in topics] if compressed else self.config.image_topics
        drawn = "".join(random.choices(ascii_lowercase, k=4))
        for index, prefix in enumerate(places(topics, self.get_name())):
            self._streams.append(Stream(self, asked[index], prefix, drawn + ascii_lowercase[index]))

    def _stop(self) -> None:
        for stream in self._streams:
            stream.close()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the network did not finish its last picture in 5 s")
        elif self._worker is not None and self.context.ok():
            for stream in self._streams:
                stream.outputs.rest([])
        self._worker = None

    def _release(self) -> None:
        self._stop()
        if self.context.ok():
            settle(one for stream in self._streams for one in stream.outputs.publishers)
        for stream in self._streams:
            stream.outputs.destroy()
        self._streams = []
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    # work, on the worker's thread

    def _process(self, stream: Stream, arrival: Arrival | None) -> None:
        if arrival is None:  # disabled, or no picture comes any more
            stream.outputs.rest(self._others(stream))
            return
        stream.process(self._pipeline, arrival, self._others(stream))

    def _others(self, stream: Stream) -> list[str]:
        """Bodies of the other cameras."""
        bodies = [one.outputs.bodies for one in self._streams if one is not stream]
        return [name for one in bodies if one is not None for name in one.ids]

    def _failed(self, stream: Stream, error: Exception) -> None:
        if self.context.ok():  # during shutdown publishing fails, and that is no news
            text = one_line(error)
            stream.monitor.failed(text)
            self.get_logger().warning(f"picture skipped: {text}", throttle_duration_sec=5.0)
            if stream.forsaken():
                stream.outputs.rest(self._others(stream))

    # around it

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Off: not even subscribed. The network stays loaded."""
        changed = request.data != self._enabled
        self._enabled = request.data
        response.success = True
        if changed and self._worker is not None:
            self._worker.discard()
            try:
                for stream in self._streams if request.data else ():
                    stream.open(self._worker)
            except Exception as error:  # as in on_activate
                self.get_logger().error(one_line(error))
                response.success, self._enabled = False, False
                response.message = one_line(error)
            for stream in () if self._enabled else self._streams:
                stream.close()
                self._worker.put(stream, None)
        response.message = response.message or ("enabled" if request.data else "disabled")
        return response

    def _follow_publishers(self) -> None:
        for stream in self._streams:
            stream.follow_publishers()
            if self._worker is not None and stream.forsaken():
                self._worker.put(stream, None)

    def _set_parameters(self, wanted: list[Parameter]) -> SetParametersResult:
        before = self.config.min_score
        try:
            self.config = params.changed(self.config, wanted, self._pipeline is not None)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._pipeline is not None:
            self._pipeline.config = self.config.decode
        if self._worker is not None and self.config.min_score != before:
            for stream in self._streams:
                stream.outputs.greet(Header(stamp=self.get_clock().now().to_msg()))
        return SetParametersResult(successful=True)

    def _diagnose(self) -> None:
        state = self._state_machine.current_state[1]
        if state == "active" and not self._enabled:
            state = "disabled"
        engine = self._pipeline.engine.name if self._pipeline else ""
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        for stream in self._streams:
            status = stream.status(state, engine)
            status.name = name if len(self._streams) == 1 else f"{name}: {stream.topic}"
            status.hardware_id = stream.topic
            array.status.append(status)
        if not self._streams:
            array.status.append(DiagnosticStatus(name=name, message=state))
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
