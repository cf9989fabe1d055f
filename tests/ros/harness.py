"""Processes under test, and a node that sends them images and collects their messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import TypeVar

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from kdc_ros.image_messages import to_message

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds, for slow and busy machines
_numbers = count(10**3)  # microseconds of stamps; tests choose smaller ones themselves


def _path() -> str:
    """Return PYTHONPATH with this source tree first."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


class Running:
    """A node in a process of its own."""

    _kdc: Running | None = None  # the last node with the pipeline of ``blobs.py``

    def __init__(self, *command: str, parameters: dict | None = None, env: dict | None = None):
        options = [f"{name}:={value}" for name, value in (parameters or {}).items()]
        arguments = [word for option in options for word in ("--ros-args", "-p", option)]
        self.process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=ROOT,
            text=True,
            env={**os.environ, "PYTHONPATH": _path(), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @classmethod
    def blobs(cls, env: dict | None = None, **parameters) -> Running:
        """Start the node with the pipeline of ``blobs.py``; only one may run at a time."""
        alone = cls._kdc is None or cls._kdc.process.poll() is not None
        assert alone, "two nodes of one name would answer for each other"
        Running._kdc = cls(
            str(Path(__file__).with_name("blobs.py")), parameters=parameters, env=env
        )
        return Running._kdc

    @classmethod
    def module(cls, name: str, **parameters) -> Running:
        """Start ``python -m kdc_ros.<name>``."""
        return cls("-m", f"kdc_ros.{name}", parameters=parameters)

    def end(self, *signals: int, pause: float = 0.0) -> tuple[int, str, str]:
        """Send signals; return exit code, stdout and stderr."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(pause)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdout.closed:  # by ``end``
            return
        self.process.send_signal(signal.SIGINT)
        try:
            _, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, err = self.process.communicate()
        print(err)  # pytest shows it beside a failure


class Probe:
    """Publishes images, collects messages, calls services."""

    def __enter__(self) -> Probe:
        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node("probe", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list] = {}
        self.clients: dict[str, Client] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def listen(self, kind: type, topic: str) -> list:
        """Return a list to which the messages of a topic are appended."""
        heard = self.heard.setdefault(topic, [])
        self.node.create_subscription(kind, topic, heard.append, QoSProfile(depth=100))
        return heard

    def advertise(self, kind: type, topic: str, qos: QoSProfile | int = 1):
        """Return a publisher after it has a subscriber with the same reliability."""
        publisher = self.node.create_publisher(kind, topic, qos)
        offered = publisher.qos_profile.reliability

        def followed():
            taken = self.node.get_subscriptions_info_by_topic(topic)
            return taken and all(one.qos_profile.reliability == offered for one in taken)

        self.until(publisher.get_subscription_count, f"no subscriber of {topic}")
        self.until(followed, f"{topic} is not subscribed with {offered.name}")
        self.spin(0.2)
        return publisher

    def ask(self, camera, message, heard: list, patience: float = 3.0):
        """Return the answer to an image.

        The image gets a new stamp, so that it is not mistaken for another one, and is sent again
        with a newer stamp if nothing comes: best effort loses images, and so does a publisher
        before it has found all subscribers.
        """
        mine: set[int] = set()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            mine.add(stamp_anew(message))
            camera.publish(message)
            again = time.monotonic() + patience
            while time.monotonic() < again:
                self.executor.spin_once(timeout_sec=0.02)
                for answer in reversed(heard):
                    if answer.header.stamp.nanosec in mine:
                        return answer
        raise AssertionError("no answer")

    def show(self, camera, message, heard: list):
        """Return the answer to an image that is sent again, with newer stamps, until one comes.

        Earlier messages are removed from ``heard``. ``message`` keeps the stamp of the answer.
        """
        heard.clear()
        sent: list[Header] = []

        def answers():
            stamp_anew(message)
            sent.append(deepcopy(message.header))
            camera.publish(message)
            self.spin(0.15)
            return [answer for answer in heard if answer.header in sent]

        answer = self.until(answers, "no answer")[-1]
        message.header = deepcopy(answer.header)
        return answer

    def until(self, true: Callable[[], T], failure: str, timeout: float = PATIENCE) -> T:
        """Return the value of ``true`` once it is true; an IndexError counts as not yet true."""
        end = time.monotonic() + timeout
        while not (found := _now(true)):
            assert time.monotonic() < end, failure
            self.executor.spin_once(timeout_sec=0.02)
        return found

    def spin(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def enable(self, on: bool) -> None:
        """Switch the node on or off."""
        assert self.call(SetBool, "/kdc/enable", SetBool.Request(data=on)).success

    def change(self, transition: int) -> bool:
        """Return True if a transition of the node's lifecycle succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, "/kdc/change_state", request).success

    def call(self, kind: type, name: str, request):
        """Return the response of a service."""
        if name not in self.clients:
            self.clients[name] = self.node.create_client(kind, name)
            self.until(self.clients[name].service_is_ready, f"no service {name}")
            self.spin(0.2)  # until the service knows its client, too
        future = self.clients[name].call_async(request)
        self.until(future.done, f"no response from {name}")
        return future.result()

    def set(self, name: str, value: object, node: str = "/kdc"):
        """Return the result of setting one parameter of a node."""
        wanted = rclpy.parameter.Parameter(name, value=value).get_parameter_value()
        request = SetParameters.Request(parameters=[Parameter(name=name, value=wanted)])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]


def _now(true: Callable[[], object]) -> object:
    try:
        return true()
    except IndexError:
        return False


def stamp_anew(message) -> int:
    """Give an image a stamp that is newer than all that were given here; return its nanoseconds."""
    message.header.stamp.nanosec = 1000 * next(_numbers)
    return message.header.stamp.nanosec


def header(index: int, frame_id: str = "optical") -> Header:
    """Return a header with ``index`` as microseconds of its stamp."""
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = 1_700_000_000, 1000 * index
    return made


def image_message(array, index: int = 0, encoding: str = "bgr8"):
    """Return an image message with ``index`` as microseconds of its stamp."""
    return to_message(array, encoding, header(index))
