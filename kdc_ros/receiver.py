"""Subscriptions with a callback: on a thread of their own, or on rclpy's executor.

For every message the executor collects all services, timers and events of its node anew. That
costs half a millisecond of CPU per image, more than everything else that KDC does around the
network. So images are taken by a thread of their own where rclpy allows it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from rclpy.node import Node, SubscriptionEventCallbacks  # Humble has them in another module

from kdc_core.errors import InputError, one_line
from kdc_ros.error_report import given_by_user
from kdc_ros.rclpy_private import DirectTaker, NoExecutor, has_direct_take

M = TypeVar("M")


class Receiver(Protocol):
    """A subscription that calls back until it is destroyed."""

    def destroy(self) -> None:
        """Unsubscribe. The callback is not called any more."""
        ...


def open_receiver(
    node: Node,
    kind: type[M],
    topic: str,
    receive: Callable[[M], None],
    failed: Callable[[Exception], None],
    **options: Any,
) -> Receiver:
    """Subscribe with the fastest receiver that this release of rclpy supports.

    Args:
        node: the node that subscribes.
        kind: message type.
        topic: before remapping.
        receive: gets each message, maybe on another thread.
        failed: gets each exception of ``receive`` and of reading a message.
        options: further arguments of ``create_subscription``.

    Raises:
        InputError: the name of the topic or its QoS is wrong.
    """
    make = ThreadReceiver if has_direct_take() else ExecutorReceiver
    return make(node, kind, topic, receive, failed, **options)


class ThreadReceiver(Generic[M]):
    """Calls ``receive(message)`` on a thread of its own until ``destroy``.

    An exception goes to ``failed(error)``, and the thread goes on with the next message.
    """

    def __init__(
        self,
        node: Node,
        kind: type[M],
        topic: str,
        receive: Callable[[M], None],
        failed: Callable[[Exception], None],
        **options: Any,
    ) -> None:
        """Subscribe; see ``open_receiver``."""
        self._node = node
        self._receive, self._failed = receive, failed
        self._running = True
        with given_by_user(topic):
            self._subscription = node.create_subscription(
                kind,
                topic,
                receive,
                callback_group=NoExecutor(),
                # the executor would wait for its events, and incoming data wakes that wait as well
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                **options,
            )
        self._taker = DirectTaker(node, self._subscription, kind)
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    def destroy(self) -> None:
        """Unsubscribe. ``receive`` is not called any more."""
        self._running = False
        self._taker.wake()
        self._thread.join()
        self._node.destroy_subscription(self._subscription)
        self._taker.destroy()

    def _run(self) -> None:
        self._taker.run(lambda: self._running, self._take)

    def _take(self) -> None:
        try:
            message = self._taker.take()
        except Exception as error:  # rclpy raises many types for bytes that are no message
            self._failed(InputError(f"message cannot be read: {one_line(error)}"))
            return
        if message is None:
            return
        try:
            self._receive(message)
        except Exception as error:  # one message must not stop the next ones
            self._failed(error)


class ExecutorReceiver(Generic[M]):
    """Calls ``receive(message)`` on the executor of the node; uses rclpy's public API only."""

    def __init__(
        self,
        node: Node,
        kind: type[M],
        topic: str,
        receive: Callable[[M], None],
        failed: Callable[[Exception], None],
        **options: Any,
    ) -> None:
        """Subscribe; see ``open_receiver``."""
        self._node = node
        self._receive, self._failed = receive, failed
        with given_by_user(topic):
            self._subscription = node.create_subscription(kind, topic, self._take, **options)

    def destroy(self) -> None:
        """Unsubscribe. ``receive`` is not called any more."""
        self._node.destroy_subscription(self._subscription)

    def _take(self, message: M) -> None:
        try:
            self._receive(message)
        except Exception as error:  # one message must not stop the node
            self._failed(error)
