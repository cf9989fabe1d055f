"""All private parts of rclpy that KDC uses. Nothing outside this module touches any.

Each part is checked when it is used and has a public replacement, so that a release of rclpy
without it still works:

===================================  ============================================================
private part                         without it
===================================  ============================================================
``RCLError``                         its public base class, ``RuntimeError``
``WaitSet``, ``take_message``        messages are taken by the executor (slower, see ``receiver``)
``LifecycleNode.__change_state``     an unavailable transition ends the process, as rclpy has it
``LifecycleNode._state_machine``     the state is reported as "unknown"
===================================  ============================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.subscription import Subscription

implementation: Any
try:
    from rclpy.impl.implementation_singleton import rclpy_implementation as implementation
except ImportError:
    implementation = None

#: what rclpy raises for errors of the middleware: wrong QoS, a context that was shut down
RCLError: type[Exception] = getattr(implementation, "RCLError", RuntimeError)

CHANGE_STATE = "_LifecycleNodeMixin__change_state"
STATE_MACHINE = "_state_machine"
WAIT_SET_METHODS = (
    "add_guard_condition",
    "add_subscription",
    "clear_entities",
    "is_ready",
    "wait",
)


def has_direct_take() -> bool:
    """Return True if messages can be taken without rclpy's executor, by ``DirectTaker``."""
    wait_set = getattr(implementation, "WaitSet", None)
    subscription = getattr(implementation, "Subscription", None)
    return all(hasattr(wait_set, name) for name in WAIT_SET_METHODS) and hasattr(
        subscription, "take_message"
    )


class NoExecutor(ReentrantCallbackGroup):
    """Callback group of entities that the executor leaves alone."""

    def can_execute(self, entity: Any) -> bool:
        """Return False: the executor must not wait for the entity."""
        return False


class DirectTaker:
    """Waits for the messages of one subscription and takes them, without an executor."""

    def __init__(self, node: Node, subscription: Subscription, kind: type) -> None:
        """``subscription`` belongs to a ``NoExecutor`` group; ``kind`` is its message type."""
        self._subscription: Any = subscription
        self._kind = kind
        self._stop: Any = GuardCondition(None, None, context=node.context)
        self._wait_set = implementation.WaitSet(1, 1, 0, 0, 0, 0, cast(Any, node.context).handle)

    def run(self, running: Callable[[], bool], received: Callable[[], None]) -> None:
        """Call ``received`` whenever there is a message, until ``wake`` and not ``running()``."""
        source, stop, wait_set = self._subscription.handle, self._stop.handle, self._wait_set
        with source, stop:
            while running():
                wait_set.clear_entities()
                index = wait_set.add_subscription(source)
                wait_set.add_guard_condition(stop)
                wait_set.wait(-1)
                if running() and wait_set.is_ready("subscription", index):
                    received()

    def take(self) -> Any:
        """Return the next message; None if the bytes are no message of the type."""
        taken = self._subscription.handle.take_message(self._kind, False)
        return None if taken is None else taken[0]

    def wake(self) -> None:
        """End the wait of ``run``; may be called from any thread."""
        self._stop.trigger()

    def destroy(self) -> None:
        """Free what belongs to the wait set; the subscription is not destroyed."""
        self._stop.destroy()


class RefusingLifecycleNode(LifecycleNode):
    """A lifecycle node that refuses transitions which its state does not allow.

    rclpy raises in the service callback instead, which ends the process.
    """

    def current_state(self) -> str:
        """Return the label of the state, such as "active"."""
        machine = getattr(self, STATE_MACHINE, None)
        return "unknown" if machine is None else str(machine.current_state[1])

    def _LifecycleNodeMixin__change_state(self, transition: int) -> TransitionCallbackReturn:
        machine = getattr(self, STATE_MACHINE, None)
        if machine is not None and transition not in (
            number for number, *_ in machine.available_transitions
        ):
            self.get_logger().error(
                f"transition {transition}: not available while {self.current_state()}"
            )
            return TransitionCallbackReturn.FAILURE
        change_state: Callable[[int], TransitionCallbackReturn] = getattr(super(), CHANGE_STATE)
        return change_state(transition)
