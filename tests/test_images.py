"""ROS pictures to arrays without ROS: any object with the message's fields will do."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdc_core.io import ros_image

SIZE = (6, 4)  # width, height


def message(data: np.ndarray, encoding: str, width=SIZE[0], height=SIZE[1], **more):
    fields = {"step": data.strides[0] if data.ndim > 1 else 0, "is_bigendian": 0} | more
    return SimpleNamespace(
        width=width, height=height, encoding=encoding, data=data.tobytes(), **fields
    )


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


def test_colour_orders_and_padding(colour):
    assert (ros_image.to_bgr(message(colour, "bgr8")) == colour).all()
    assert (ros_image.to_bgr(message(colour[..., ::-1].copy(), "rgb8")) == colour).all()
    padded = np.zeros((SIZE[1], 3 * SIZE[0] + 5), np.uint8)
    padded[:, : 3 * SIZE[0]] = colour.reshape(SIZE[1], -1)
    assert (ros_image.to_bgr(message(padded, "bgr8")) == colour).all()


def test_sixteen_bits_in_both_byte_orders():
    grey = np.arange(SIZE[0] * SIZE[1], dtype="<u2").reshape(SIZE[1], SIZE[0]) * 2000
    expected = (grey >> 8).astype(np.uint8)
    assert (ros_image.to_bgr(message(grey, "mono16"))[..., 1] == expected).all()
    swapped = message(grey.astype(">u2"), "mono16", is_bigendian=1)
    assert (ros_image.to_bgr(swapped)[..., 1] == expected).all()


def test_every_encoding_gives_a_colour_picture():
    for encoding, layout in ros_image.LAYOUTS.items():
        rows = int(SIZE[1] * layout.rows)
        data = np.zeros((rows, SIZE[0] * layout.channels), layout.kind)
        assert ros_image.to_bgr(message(data, encoding)).shape == (SIZE[1], SIZE[0], 3), encoding


@pytest.mark.parametrize("change, complaint", [
    ({"encoding": "x"}, "expected an encoding of"), ({"step": 3}, "expected a step"),
    ({"height": 5}, "expected 90 bytes"), ({"width": 0}, "expected sides of 1"),
    ({"data": b""}, "expected 72 bytes"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(colour, change, complaint):
    wrong = message(colour, "bgr8")
    vars(wrong).update(change)
    with pytest.raises(ValueError, match=complaint):
        ros_image.to_bgr(wrong)


def compressed(data: bytes, form: str = "jpeg"):
    return SimpleNamespace(data=np.frombuffer(data, np.uint8), format=form)


def test_a_compressed_pattern_is_read_as_the_raw_one():
    grey = np.random.default_rng(0).integers(0, 255, (6, 8), np.uint8)
    png = cv2.imencode(".png", grey)[1].tobytes()
    for encoding in ("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"):
        raw = message(grey, encoding, 8, 6)
        for form in (f"{encoding}; png compressed ", encoding):
            got = ros_image.compressed_to_bgr(compressed(png, form))
            assert (got == ros_image.to_bgr(raw)).all() and not (got == grey[..., None]).all()
    for form in ("bayer_rggb8; png compressed bgr8", "bayer_rggb16; png compressed ", "mono8; png"):
        assert (ros_image.compressed_to_bgr(compressed(png, form)) == grey[..., None]).all(), form
    odd = cv2.imencode(".png", grey[:5])[1].tobytes()
    with pytest.raises(ValueError, match="even sides, got 8x5"):
        ros_image.compressed_to_bgr(compressed(odd, "bayer_rggb8; png compressed "))


def test_a_message_is_not_turned_by_its_exif(colour):
    jpeg = cv2.imencode(".jpg", colour)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\1" + b"\1\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4)  # turned right
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape[:2] == SIZE
    got = ros_image.compressed_to_bgr(compressed(turned))
    assert (got == ros_image.compressed_to_bgr(compressed(jpeg))).all()


def test_jpeg_and_png(colour):
    png = cv2.imencode(".png", colour)[1].tobytes()
    assert (ros_image.compressed_to_bgr(compressed(png, "png")) == colour).all()
    jpeg = cv2.imencode(".jpg", colour)[1].tobytes()
    assert ros_image.compressed_to_bgr(compressed(jpeg)).shape == colour.shape
    longer = png[:33] + b"\1" + png[34:]  # a chunk that would reach beyond the end
    bitmap = cv2.imencode(".bmp", colour)[1].tobytes()
    for broken in (b"", jpeg[:-20], png[:-20], longer, b"no picture", bitmap):
        with pytest.raises(ValueError, match="compressed image: expected jpeg or png"):
            ros_image.compressed_to_bgr(compressed(broken))
    with pytest.raises(ValueError, match="got compressedDepth"):
        ros_image.compressed_to_bgr(compressed(png, "16UC1; compressedDepth png"))
    huge = png[:16] + (60000).to_bytes(4, "big") * 2 + png[24:]
    with pytest.raises(ValueError, match="60000x60000 pixels are too large for a camera"):
        ros_image.compressed_to_bgr(compressed(huge))
    segments = b"\xff\xd8\xff\xff\xfe\0\4abrubbish\xff\xd0" + jpeg[2:]  # as decoders read them
    at = segments.index(b"\xff\xc0") + 5
    with pytest.raises(ValueError, match="60000x60000 pixels are too large for a camera"):
        ros_image.compressed_to_bgr(
            compressed(segments[:at] + (60000).to_bytes(2, "big") * 2 + segments[at + 4 :])
        )
    assert ros_image.compressed_to_bgr(compressed(segments)).shape == colour.shape


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 60), st.binary(max_size=300),
       st.sampled_from(sorted(ros_image.LAYOUTS)), st.booleans())  # fmt: skip
def test_random_messages_give_a_picture_or_a_value_error(width, height, step, data, encoding, big):
    made = SimpleNamespace(width=width, height=height, step=step, encoding=encoding, data=data,
                           is_bigendian=int(big))  # fmt: skip
    try:
        assert ros_image.to_bgr(made).shape == (height, width, 3)
    except ValueError:
        pass
