"""Messages are made only for topics that have subscribers."""

from __future__ import annotations

import pytest

from kdc_core.errors import InputError
from kdc_core.track import CentroidSwitch
from kdc_ros import outputs
from kdc_ros.outputs import Outputs, require
from kdc_ros.params import NodeConfig
from tests.ros.fakes import FakeNode
from tests.ros.results import result

TOPICS = ("persons", "events", "mask", "skeletons", "overlay", "overlay/compressed")
SWITCH = CentroidSwitch(id=7, before=15, after=0, reason="test", stamp=3.0)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def made(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    monkeypatch.setattr(outputs, "is_installed", lambda package: False)
    return Outputs(node, NodeConfig, "/kdc", "abcda")


def test_publish_without_subscribers_makes_nothing(node: FakeNode, made: Outputs) -> None:
    frame = result(switches=(SWITCH,))
    made.publish(frame, [])
    assert set(node.publishers) == {f"/kdc/{name}" for name in TOPICS}
    assert not any(publisher.published for publisher in node.publishers.values())
    assert "overlay" not in vars(frame), "the overlay was drawn"


@pytest.mark.parametrize("name", TOPICS)
def test_publish_serves_the_topic_that_has_a_subscriber(
    node: FakeNode, made: Outputs, name: str
) -> None:
    node.publishers[f"/kdc/{name}"].subscribers = 1
    made.publish(result(switches=(SWITCH,)), [])
    counts = {topic: len(publisher.published) for topic, publisher in node.publishers.items()}
    assert counts.pop(f"/kdc/{name}") == 1
    assert not any(counts.values())


def test_publish_draws_the_overlay_once_for_both_topics(node: FakeNode, made: Outputs) -> None:
    for name in ("overlay", "overlay/compressed"):
        node.publishers[f"/kdc/{name}"].subscribers = 1
    frame = result()
    made.publish(frame, [])
    assert "overlay" in vars(frame)
    assert len(node.publishers["/kdc/overlay"].published) == 1


def test_destroy_removes_every_publisher(node: FakeNode, made: Outputs) -> None:
    assert len(made.publishers) == len(TOPICS)
    made.destroy()
    assert not node.publishers


def test_require_names_the_apt_package() -> None:
    with pytest.raises(InputError, match=r"publish_x: needs no_such_msgs: apt install \S+-no-such"):
        require("no_such_msgs", "publish_x")
    require("std_msgs", "publish_x")
