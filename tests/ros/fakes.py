"""A lifecycle node without DDS: its publishers count and keep what they get."""

from __future__ import annotations

from types import SimpleNamespace

from builtin_interfaces.msg import Time


class FakePublisher:
    """A publisher whose number of subscribers is set by the test."""

    def __init__(self, kind: type, topic: str) -> None:
        self.msg_type, self.topic = kind, topic
        self.subscribers = 0
        self.published: list = []

    def get_subscription_count(self) -> int:
        return self.subscribers

    def publish(self, message: object) -> None:
        self.published.append(message)


class FakeLogger:
    """Keeps (level, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, text: str, **_: object) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str, **_: object) -> None:
        self.lines.append(("warning", text))

    def error(self, text: str, **_: object) -> None:
        self.lines.append(("error", text))


class FakeNode:
    """What ``Outputs`` and ``CameraStream`` use of a node."""

    def __init__(self) -> None:
        self.publishers: dict[str, FakePublisher] = {}
        self.logger = FakeLogger()
        self.context = SimpleNamespace(ok=lambda: True)

    def create_lifecycle_publisher(self, kind: type, topic: str, qos, **_: object):
        self.publishers[topic] = FakePublisher(kind, topic)
        return self.publishers[topic]

    create_publisher = create_lifecycle_publisher

    def destroy_lifecycle_publisher(self, publisher: FakePublisher) -> None:
        del self.publishers[publisher.topic]

    destroy_publisher = destroy_lifecycle_publisher

    def resolve_topic_name(self, topic: str) -> str:
        return topic if topic.startswith("/") else f"/{topic}"

    def get_logger(self) -> FakeLogger:
        return self.logger

    def get_clock(self) -> SimpleNamespace:
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=Time))
