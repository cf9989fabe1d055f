"""A thread that takes one topic's messages as they come, beside rclpy's executor.

For every message the executor gathers all services, timers and events of its node anew: half a
millisecond of CPU per picture, more than everything else that KDC does around the network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node, SubscriptionEventCallbacks  # its module is another in Humble

M = TypeVar("M")


class _Unattended(ReentrantCallbackGroup):
    """What belongs to it is not the executor's."""

    def can_execute(self, entity: Any) -> bool:
        return False


class Receiver(Generic[M]):
    """Calls ``receive(message)`` on a thread of its own until ``destroy``.

    An exception goes to ``failed(error)``, and the thread goes on with the next message.
    """

    def __init__(
        self, node: Node, kind: type[M], topic: str, receive: Callable[[M], None],
        failed: Callable[[Exception], None], **options: Any,
    ) -> None:  # fmt: skip
        """Subscribe; ``options`` are those of ``create_subscription``."""
        self._node, self._kind = node, kind
        self._receive, self._failed = receive, failed
        self._running = True
        self._stop = GuardCondition(None, None, context=node.context)
        self._wait_set = _rclpy.WaitSet(1, 1, 0, 0, 0, 0, node.context.handle)
        self._subscription = node.create_subscription(
            kind, topic, receive, callback_group=_Unattended(),
            # the executor would wait for its events, and data wake it then, too
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False), **options,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    def destroy(self) -> None:
        """Unsubscribe; ``receive`` is not called any more."""
        self._running = False
        self._stop.trigger()
        self._thread.join()
        self._node.destroy_subscription(self._subscription)
        self._stop.destroy()

    def _run(self) -> None:
        source, stop, wait_set = self._subscription.handle, self._stop.handle, self._wait_set
        with source, stop:
            while self._running:
                wait_set.clear_entities()
                index = wait_set.add_subscription(source)
                wait_set.add_guard_condition(stop)
                wait_set.wait(-1)
                if self._running and wait_set.is_ready("subscription", index):
                    self._take()

    def _take(self) -> None:
        try:
            taken = self._subscription.handle.take_message(self._kind, False)
            if taken is not None:  # as it is where the bytes were no message of the type
                self._receive(taken[0])
        except Exception as error:  # whatever one message does must not stop the next ones
            self._failed(error)
