"""The node: camera images in, masks and skeletons of people out."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from string import ascii_lowercase
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_srvs.srv import SetBool

from kdc_core import pipeline as core
from kdc_core.engines import open_engine
from kdc_core.errors import InputError
from kdc_core.pipeline import Pipeline
from kdc_core.topics import COMPRESSED, output_namespaces
from kdc_ros import params
from kdc_ros.camera_stream import CameraStream, Worker
from kdc_ros.declare import declare_node_config
from kdc_ros.error_report import describe, with_traceback
from kdc_ros.node_process import run
from kdc_ros.qos import wait_for_acks
from kdc_ros.rclpy_private import RefusingLifecycleNode
from kdc_ros.worker import NewestWorker

FOLLOW_EVERY = 0.5  # seconds between checks of what the publishers of the images offer
DIAGNOSE_EVERY = 1.0  # seconds between messages on /diagnostics


def open_pipeline(config: params.NodeConfig) -> Pipeline:
    """Load the network that the parameters name."""
    engine = open_engine(
        config.engine_name,
        config.model_path,
        threads=config.threads,
        long_side=config.long_side or None,
    )
    return core.open_pipeline(engine, config.decode)


class KdcNode(RefusingLifecycleNode):
    """A lifecycle node. Configured: the network is loaded. Active: images are processed.

    One network serves all cameras in turn, on one worker thread that takes the newest image of
    each camera.
    """

    def __init__(
        self, open_pipeline: Callable[[params.NodeConfig], Pipeline] = open_pipeline, **kwargs: Any
    ) -> None:
        """Declare the parameters.

        Args:
            open_pipeline: makes the pipeline from the parameters; tests replace it.
            kwargs: further arguments of rclpy's ``LifecycleNode``.

        Raises:
            InputError: a parameter's value is wrong.
        """
        super().__init__("kdc", **kwargs)
        self._open_pipeline = open_pipeline
        self._config = declare_node_config(self)
        self.add_on_set_parameters_callback(self._set_parameters)
        self._pipeline: Pipeline | None = None
        self._worker: Worker | None = None
        self._streams: list[CameraStream] = []
        self._enabled = True
        self._diagnostics = self.create_publisher(
            DiagnosticArray,
            "/diagnostics",
            10,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.create_service(SetBool, "~/enable", self._enable)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on while a simulation pauses
        self.create_timer(DIAGNOSE_EVERY, self._diagnose, clock=steady)
        self.create_timer(FOLLOW_EVERY, self._follow_publishers, clock=steady)

    def start(self) -> None:
        """Configure and activate, if ``autostart`` is set.

        Raises:
            InputError: a transition failed; the reason has been logged.
        """
        if not self._config.autostart:
            return
        done = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != done or self.trigger_activate() != done:
            raise InputError("the node could not start, see the error above")

    # lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and create the outputs."""
        try:
            self._pipeline = self._open_pipeline(self._config)
            self._create_streams(self._pipeline)
        except Exception as error:  # rclpy would swallow it
            self.get_logger().error(with_traceback(error))
            self._release()
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(f"network: {self._pipeline.engine.name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        done = super().on_activate(state)
        try:
            self._worker = NewestWorker(CameraStream.work, CameraStream.fail)
            for stream in self._streams:
                stream.publish_latched()
                if self._enabled:
                    stream.open(self._worker)
                    self.get_logger().info(f"waiting for images on {stream.topic}")
                else:
                    self.get_logger().info(f"inference disabled for {stream.topic}")
        except Exception as error:  # rclpy would swallow it
            self.get_logger().error(with_traceback(error))
            self._stop()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the worker."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the outputs and unload the network."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up after a transition that raised; the node is unconfigured again."""
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the worker before its publishers are destroyed."""
        self._release()
        super().destroy_node()

    def _create_streams(self, pipeline: Pipeline) -> None:
        topics = [self.resolve_topic_name(topic) for topic in self._config.image_topics]
        names: list[str] = list(self._config.image_topics)  # rclpy remaps them when it subscribes
        if self._config.image_transport == "compressed":
            # the suffix comes after the remapping, as with image_transport
            names = [f"{topic}{COMPRESSED}" for topic in topics]
        letters = "".join(random.choices(ascii_lowercase, k=4))
        for index, space in enumerate(output_namespaces(topics, self.get_fully_qualified_name())):
            self._streams.append(
                CameraStream(
                    self,
                    lambda: self._config,
                    pipeline,
                    names[index],
                    space,
                    letters + ascii_lowercase[index],
                    partial(self._bodies_of_others, index),
                )
            )

    def _bodies_of_others(self, camera: int) -> list[str]:
        """Return the ids of the bodies of all cameras but one."""
        others = (s for index, s in enumerate(self._streams) if index != camera)
        return [body for stream in others for body in stream.outputs.body_ids]

    def _stop(self) -> None:
        for stream in self._streams:
            stream.close()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the network did not finish its last image in 5 s")
        elif self._worker is not None and self.context.ok():
            for stream in self._streams:
                stream.outputs.clear([])
        self._worker = None

    def _release(self) -> None:
        self._stop()
        if self.context.ok():
            wait_for_acks(p for stream in self._streams for p in stream.outputs.publishers)
        for stream in self._streams:
            stream.outputs.destroy()
        self._streams = []
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    # services, parameters and timers

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Switch inference on or off. Off, the node is not subscribed; the network stays loaded."""
        changed = request.data != self._enabled
        self._enabled = request.data
        response.success = True
        response.message = "enabled" if request.data else "disabled"
        if not changed or self._worker is None:
            return response
        self._worker.discard()
        try:
            for stream in self._streams if request.data else ():
                stream.open(self._worker)
        except Exception as error:  # rclpy would end the process
            self.get_logger().error(with_traceback(error))
            self._enabled = response.success = False
            response.message = describe(error)
        if not self._enabled:
            for stream in self._streams:
                stream.close()
                self._worker.put(stream, None)
        return response

    def _follow_publishers(self) -> None:
        for stream in self._streams:
            stream.follow_publishers()
            if self._worker is not None and stream.has_stale_bodies():
                self._worker.put(stream, None)

    def _set_parameters(self, assignments: list[Parameter]) -> SetParametersResult:
        before = self._config.min_score
        try:
            self._config = params.changed(
                self._config, assignments, configured=self._pipeline is not None
            )
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._pipeline is not None:
            self._pipeline.config = self._config.decode
        if self._worker is not None and self._config.min_score != before:
            for stream in self._streams:
                stream.publish_latched()
        return SetParametersResult(successful=True)

    def _diagnose(self) -> None:
        state = self.current_state()
        if state == "active" and not self._enabled:
            state = "disabled"
        engine = self._pipeline.engine.name if self._pipeline else ""
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        for stream in self._streams:
            status = stream.status(state, engine)
            status.name = name if len(self._streams) == 1 else f"{name}: {stream.topic}"
            array.status.append(status)
        if not self._streams:
            array.status.append(DiagnosticStatus(name=name, message=state))
        self._diagnostics.publish(array)


def main(open_pipeline: Callable[[params.NodeConfig], Pipeline] = open_pipeline) -> None:
    """Run the node until Ctrl-C or SIGTERM; exit code 2 if it cannot start."""

    def make() -> KdcNode:
        node = KdcNode(open_pipeline)
        node.start()
        return node

    sys.exit(run(make))


if __name__ == "__main__":
    main()
