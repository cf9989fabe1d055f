"""What a camera does with its images, without DDS and without a network."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from kdc_core.config import DecodeConfig
from kdc_core.errors import InputError
from kdc_core.track import CentroidSwitch
from kdc_core.types import Frame, People
from kdc_ros import outputs
from kdc_ros.camera_stream import CameraStream
from kdc_ros.image_messages import to_message
from kdc_ros.params import NodeConfig
from tests.people import two_people
from tests.ros.fakes import FakeNode

PERSONS, EVENTS = "/kdc/persons", "/kdc/events"


class FakePipeline:
    """Finds the same people in every image, and notes when it was taken."""

    def __init__(self) -> None:
        self.config = DecodeConfig()
        self.engine = SimpleNamespace(name="fake")
        self.people: People = two_people()
        self.switches: list[CentroidSwitch] = []
        self.frames: list[Frame] = []
        self.times: list[float] = []

    def __call__(self, frame: Frame, video=None, time=None) -> People:
        self.frames.append(frame)
        self.times.append(time)
        video.switches = self.switches
        return self.people


class Camera:
    """A stream with its fakes."""

    def __init__(self, **parameters: object) -> None:
        self.node, self.pipeline = FakeNode(), FakePipeline()
        self.config = NodeConfig(**parameters)
        self.stream = CameraStream(
            self.node, lambda: self.config, self.pipeline, "image_raw", "/kdc", "abcda"
        )
        for topic in (PERSONS, EVENTS):
            self.node.publishers[topic].subscribers = 1

    def send(self, nanoseconds: int, arrived: float = 0.0) -> None:
        header = Header(frame_id="eye")
        header.stamp.sec, header.stamp.nanosec = divmod(nanoseconds, 10**9)
        message = to_message(np.zeros((48, 64, 3), np.uint8), "bgr8", header)
        self.stream.work((message, arrived))

    def published(self, topic: str) -> list:
        return self.node.publishers[topic].published

    def status(self) -> tuple[DiagnosticStatus, dict[str, str]]:
        status = self.stream.status("active", "fake")
        return status, {pair.key: pair.value for pair in status.values}


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Camera:
    monkeypatch.setattr(outputs, "is_installed", lambda package: False)
    return Camera()


def test_work_processes_unstamped_images_by_their_arrival(camera: Camera) -> None:
    for arrived in (50.0, 50.1, 50.4):
        camera.send(0, arrived)
    assert camera.pipeline.times == pytest.approx([50.0, 50.1, 50.4])
    assert [frame.stamp for frame in camera.pipeline.frames] == pytest.approx([50.0, 50.1, 50.4])
    assert camera.published(PERSONS)[-1].header.stamp.sec == 0, "copied from the image"
    assert ("warning", "/image_raw: frames have no stamp: using the time of arrival") in (
        camera.node.logger.lines
    )


@pytest.mark.parametrize(
    ("stamps", "processed", "dropped"),
    [
        ((1000, 1100, 1200), 3, 0),
        ((1000, 1100, 1100), 2, 1),  # repeated
        ((1000, 1100, 1050), 2, 1),  # late
        ((5000, 1000), 2, 0),  # the clock was set back
        ((1000, *[1100] * 7), 5, 3),  # stamps stand still
    ],
)
def test_work_drops_late_and_repeated_images(
    camera: Camera, stamps: tuple[int, ...], processed: int, dropped: int
) -> None:
    for index, milliseconds in enumerate(stamps):
        camera.send(milliseconds * 10**6, index / 10)
    assert len(camera.published(PERSONS)) == processed
    _, values = camera.status()
    assert (values["images processed"], values["images dropped"]) == (str(processed), str(dropped))


def test_work_publishes_only_events_of_published_people(camera: Camera) -> None:
    camera.pipeline.switches = [
        CentroidSwitch(id=identity, before=0, after=17, reason="test", stamp=1.0)
        for identity in (3, 7)
    ]
    camera.pipeline.people = replace(
        two_people(), score=np.float32([0.1, 0.75]), mask_score=np.float32([0.1, 0.0])
    )
    camera.send(10**9)
    assert [person.id for person in camera.published(PERSONS)[0].people] == [3]
    assert [event.id for event in camera.published(EVENTS)] == [3]


def test_work_reads_min_score_anew_for_every_image(camera: Camera) -> None:
    camera.config = replace(camera.config, min_score=0.9)
    camera.send(10**9)
    camera.config = replace(camera.config, min_score=0.3)
    camera.send(2 * 10**9)
    assert [len(message.people) for message in camera.published(PERSONS)] == [0, 2]


def test_work_refuses_a_broken_image(camera: Camera) -> None:
    with pytest.raises(InputError, match="expected an encoding"):
        camera.stream.work((Image(encoding="?", header=Header()), 0.0))
    with pytest.raises(InputError, match="compressed image: expected jpeg or png data, got none"):
        camera.stream.work((CompressedImage(), 0.0))


def test_fail_reports_an_error_of_the_user_in_one_line(camera: Camera) -> None:
    camera.stream.monitor.received()
    camera.stream.fail(InputError("image: broken"))
    status, _ = camera.status()
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "image: broken")
    assert camera.node.logger.lines == [
        ("warning", "/image_raw: failed to process an image: image: broken")
    ]


def test_fail_reports_a_bug_with_its_traceback(camera: Camera) -> None:
    camera.stream.monitor.received()
    try:
        np.zeros(3) + np.zeros(4)
    except ValueError as error:
        camera.stream.fail(error)
    status, values = camera.status()
    assert status.level == DiagnosticStatus.ERROR
    assert status.message.startswith("internal error: ValueError: operands could not be broadcast")
    assert values["images failed"] == "1"
    ((level, text),) = camera.node.logger.lines
    assert level == "error" and "Traceback" in text and "np.zeros(3) + np.zeros(4)" in text


def test_fail_during_shutdown_is_silent(camera: Camera) -> None:
    camera.node.context = SimpleNamespace(ok=lambda: False)
    camera.stream.fail(InputError("image: broken"))
    assert not camera.node.logger.lines
