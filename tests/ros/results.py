"""Results of a frame with two people, made by hand."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Header

from kdc_core.types import Frame, People
from kdc_ros.person_messages import FrameResult
from tests.people import two_people


def result(found: People | None = None, **more) -> FrameResult:
    """Return the result of a black frame of 64x48 pixels."""
    frame = Frame(np.zeros((48, 64, 3), np.uint8))
    people = two_people() if found is None else found
    return FrameResult(frame, Header(frame_id="eye"), people, **more)
