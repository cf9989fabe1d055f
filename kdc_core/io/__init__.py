"""Read and write frames, videos, ROS image bytes and COCO files."""

from kdc_core.io import ros_image
from kdc_core.io.coco_json import (
    TYPICAL_FILL,
    check_runs,
    corners,
    person_category,
    read_annotations,
)
from kdc_core.io.drawing import FAINT, colour_of, overlay
from kdc_core.io.files import atomic_write, sha256, table, write_json
from kdc_core.io.ros_image import ENCODINGS, LAYOUTS, compressed_to_bgr, pixels
from kdc_core.io.sink import (
    GAP,
    FolderSink,
    Sink,
    VideoSink,
    check_apart,
    images_in,
    keep_apart,
    open_sink,
    write_image,
)
from kdc_core.io.source import (
    IMAGE_SUFFIXES,
    JPEG,
    Source,
    decode_image,
    is_image_file,
    open_source,
    read_image,
)
from kdc_core.io.supervision_export import to_supervision

__all__ = [
    "ENCODINGS",
    "FAINT",
    "GAP",
    "IMAGE_SUFFIXES",
    "JPEG",
    "LAYOUTS",
    "TYPICAL_FILL",
    "FolderSink",
    "Sink",
    "Source",
    "VideoSink",
    "atomic_write",
    "check_apart",
    "check_runs",
    "colour_of",
    "compressed_to_bgr",
    "corners",
    "decode_image",
    "images_in",
    "is_image_file",
    "keep_apart",
    "open_sink",
    "open_source",
    "overlay",
    "person_category",
    "pixels",
    "read_annotations",
    "read_image",
    "ros_image",
    "sha256",
    "table",
    "to_supervision",
    "write_image",
    "write_json",
]
