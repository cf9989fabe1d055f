"""Every encoding against images computed by arithmetic, and broken messages."""

from __future__ import annotations

import sys
import types

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from kdc_ros.image_messages import (
    ENCODINGS,
    compressed_to_bgr,
    to_bgr,
    to_message,
    to_metres,
    to_serialized,
)
from tests.ros.encodings import REFERENCES, H, W, message, mosaic, reference


def test_encodings_all_have_a_reference():
    assert set(REFERENCES) == set(ENCODINGS)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 4, 28])
@pytest.mark.parametrize("encoding", [name for name, ref in REFERENCES.items() if ref[1]])
def test_to_bgr_known_colours(encoding, padding, big):
    encode, expected, tolerance = REFERENCES[encoding]
    got = to_bgr(message(encode(reference()), encoding, padding, big))
    assert got.shape == (H, W, 3) and got.dtype == np.uint8
    error = np.abs(got.astype(int) - expected(reference()))
    assert error.max() <= tolerance


@pytest.mark.parametrize(
    "encoding", [name for name, ref in REFERENCES.items() if ref[1] and not name.startswith("8UC")]
)
def test_to_bgr_agrees_with_cv_bridge(encoding):
    bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS 2 installation")
    made = message(REFERENCES[encoding][0](reference()), encoding)
    try:
        theirs = bridge.CvBridge().imgmsg_to_cv2(made, "bgr8")
    except Exception as error:  # it knows fewer encodings, and raises whatever it likes
        pytest.skip(f"cv_bridge: {error}")
    assert np.abs(to_bgr(made).astype(int) - theirs).max() <= REFERENCES[encoding][2] + 1


def test_to_bgr_uses_cv_bridge_for_other_encodings(monkeypatch):
    class Bridge:
        def imgmsg_to_cv2(self, made, wanted):
            assert wanted == "bgr8"
            if made.encoding != "nv24":
                raise KeyError("unknown\nto it")
            return np.full((H, W, 3), 9, np.uint8)

    stand_in = types.ModuleType("cv_bridge")
    stand_in.CvBridge = Bridge
    monkeypatch.setitem(sys.modules, "cv_bridge", stand_in)
    assert (to_bgr(message(reference(), "nv24")) == 9).all()
    with pytest.raises(ValueError, match=r"expected an encoding of .* got 'xyz'; cv_bridge: 'unk"):
        to_bgr(message(reference(), "xyz"))


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("big", [False, True])
def test_to_metres_units_and_byte_orders(encoding, big):
    metres = np.linspace(0.5, 8, H * W).reshape(H, W).astype(np.float32)
    data = (metres * 1000).astype(np.uint16) if encoding == "16UC1" else metres.copy()
    data[0, 0] = 0
    if encoding == "32FC1":
        data[0, 1] = np.inf
    got = to_metres(message(data, encoding, padding=4, big=big))
    assert np.isnan(got[0, 0]) and (encoding == "16UC1" or np.isnan(got[0, 1]))
    assert got.ravel()[2:] == pytest.approx(metres.ravel()[2:], abs=0.001)
    with pytest.raises(ValueError, match=r"depth: expected 16UC1 .* got 'bgr8'"):
        to_metres(message(reference(), "bgr8"))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 8])
@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_to_bgr_stretches_depth_over_its_own_range(encoding, padding, big):
    encode, _, tolerance = REFERENCES[encoding]
    got = to_bgr(message(encode(reference()), encoding, padding, big))
    values = reference()[..., 0].astype(float)
    expected = 255 * (values - values.min()) / (values.max() - values.min())
    assert np.abs(got - expected[..., None]).max() <= tolerance
    assert got.min() == 0 and got.max() == 255


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("colour", [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 120, 40)])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_to_bgr_bayer_colours(pattern, colour, padding):
    flat = np.broadcast_to(np.array(colour, np.uint8), (H, W, 3))
    got = to_bgr(message(mosaic(flat, pattern), f"bayer_{pattern}8", padding))
    assert (got == colour).all()


def test_to_bgr_depth_without_a_value_is_black():
    depth = np.full((H, W), np.nan, np.float32)
    assert not to_bgr(message(depth, "32FC1")).any()
    depth[0, :3] = (1.0, 3.0, np.inf)
    assert to_bgr(message(depth, "32FC1"))[0, :3, 0].tolist() == [0, 255, 0]
    signalling = np.array(0x7F800001, np.uint32).view(
        np.float32
    )  # a NaN that warns when computed with
    with np.errstate(all="raise"):
        depth[0, 3] = signalling
        assert to_bgr(message(depth, "32FC1"))[0, 3, 0] == 0
    depth[0, :2] = np.finfo(np.float32).max, -np.finfo(np.float32).max
    assert to_bgr(message(depth, "32FC1"))[0, :2, 0].tolist() == [255, 0]


def test_to_bgr_bgr8_is_a_view_and_needs_no_padding_of_the_last_row():
    made = message(reference(), "bgr8")
    assert np.shares_memory(to_bgr(made), np.frombuffer(made.data, np.uint8))
    padded = message(reference(), "bgr8", padding=10)
    padded.data = padded.data[:-10]
    assert (to_bgr(padded) == reference()).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "yuv999"}, "expected an encoding of .*bgr8.*got 'yuv999'"),
        ({"encoding": ""}, "got ''"),
        ({"width": 0}, "0x20"),
        ({"height": 4_000_000_000}, "expected sides of 1 to"),
        ({"step": W * 3 - 1}, "step of at least 108 bytes .* got 107"),
        ({"height": H + 1}, "expected 2268 bytes .* got 2160"),
        ({"height": H - 1}, "expected 2052 bytes .* got 2160"),
        ({"encoding": "nv12", "height": 19}, "even sides, got 36x19"),
        ({"encoding": "mono16", "step": 109}, "step of at least 72"),
    ],
)
def test_to_bgr_refuses_wrong_messages_with_the_reason(change, words):
    made = message(reference(), "bgr8")
    for name, value in change.items():
        setattr(made, name, value)
    with pytest.raises(ValueError, match=words) as caught:
        to_bgr(made)
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_to_bgr_mutated_messages_give_an_image_or_an_input_error(data):
    encoding = data.draw(st.sampled_from(ENCODINGS))
    made = message(REFERENCES[encoding][0](reference()), encoding)
    for name in data.draw(st.sets(st.sampled_from(["width", "height", "step"]), max_size=2)):
        near = getattr(made, name) + data.draw(st.integers(-2, 2))
        value = data.draw(st.one_of(st.just(max(0, near)), st.integers(0, 2**32 - 1)))
        setattr(made, name, value)
    if data.draw(st.booleans()):
        made.encoding = data.draw(st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=8)))
    made.is_bigendian = data.draw(st.integers(0, 255))
    made.data = made.data[: data.draw(st.integers(0, len(made.data)))]
    if data.draw(st.booleans()):
        made.data = made.data * 2
    try:
        got = to_bgr(made)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert got.shape == (made.height, made.width, 3) and got.dtype == np.uint8


@settings(max_examples=200, deadline=None)
@given(
    width=st.integers(1, 5),
    height=st.integers(1, 5),
    encoding=st.sampled_from(ENCODINGS),
    noise=st.binary(min_size=400, max_size=400),
)
def test_to_bgr_tiny_images_of_noise(width, height, encoding, noise):
    made = Image(width=width, height=height, encoding=encoding, step=width * 8)
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    made.data.frombytes(noise[: made.step * rows])
    try:
        assert to_bgr(made).shape == (height, width, 3)
    except ValueError as error:
        assert width % 2 or height % 2 or min(width, height) < 3, error


def compressed(suffix: str, image: np.ndarray, text: str = "") -> CompressedImage:
    made = CompressedImage(format=text or suffix)
    made.data.frombytes(cv2.imencode(f".{suffix}", image)[1].tobytes())
    return made


def test_compressed_to_bgr_png_is_exact_and_jpeg_is_close():
    assert (compressed_to_bgr(compressed("png", reference())) == reference()).all()
    smooth = cv2.resize(reference()[::4, ::4], (320, 200), interpolation=cv2.INTER_CUBIC)
    got = compressed_to_bgr(compressed("jpg", smooth, "rgb8; jpeg compressed bgr8"))
    assert np.abs(got.astype(int) - smooth).mean() < 2
    deep = compressed_to_bgr(compressed("png", reference().astype(np.uint16) * 257))
    assert np.abs(deep.astype(int) - reference()).max() <= 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (CompressedImage(format="jpeg"), "got none"),
        (CompressedImage(format="jpeg", data=b"hello, this is text"), "got 19 bytes"),
        (CompressedImage(format="16UC1; compressedDepth png", data=b"x"), "compressedDepth"),
    ],
)
def test_compressed_to_bgr_refuses_wrong_messages(made, words):
    with pytest.raises(ValueError, match=words):
        compressed_to_bgr(made)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["jpg", "png"]), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 255)
)
def test_compressed_to_bgr_mutated_messages_give_an_image_or_an_error(suffix, cut, place, value):
    made = compressed(suffix, reference())
    broken_off = cut < len(made.data) - 2
    if broken_off:
        made.data = made.data[:cut]
    elif place < len(made.data):
        made.data[place] = value
    try:
        got = compressed_to_bgr(made)
    except ValueError:
        return
    assert got.ndim == 3 and got.shape[2] == 3 and got.dtype == np.uint8
    assert not broken_off


@pytest.mark.parametrize(
    ("encoding", "array"),
    [
        ("bgr8", reference()),
        ("mono8", reference()[..., 0]),
        ("mono16", reference()[..., 0].astype(np.uint16) * 300),
        ("bgr8", reference()[2:12, 3:30]),
    ],
)
def test_to_message_and_back(encoding, array):
    header = Header(frame_id="eye")
    made = to_message(array, encoding, header)
    assert deserialize_message(to_serialized(array, encoding, header), Image) == made
    assert made.header is header and made.encoding == encoding
    assert (made.height, made.width) == array.shape[:2]
    assert made.step * made.height == len(made.data) == array.nbytes
    assert (np.frombuffer(made.data, array.dtype).reshape(array.shape) == array).all()
    if encoding == "bgr8":
        assert (to_bgr(made) == array).all()


def test_to_message_refuses_an_array_of_another_type():
    with pytest.raises(ValueError, match=r"mono16 message: expected .*, got an array of .* uint8"):
        to_message(reference()[..., 0], "mono16", Header())
    with pytest.raises(ValueError, match="bgr8 message"):
        to_serialized(reference()[..., 0], "bgr8", Header())


def test_to_message_of_a_single_row_has_its_own_step():
    message = to_message(np.zeros((48, 64, 3), np.uint8)[47:, 10:17], "bgr8", Header())
    assert (message.height, message.width, message.step, len(message.data)) == (1, 7, 21, 21)
