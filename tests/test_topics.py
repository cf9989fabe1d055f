"""Namespaces of the outputs of one or several cameras."""

from __future__ import annotations

import pytest

from kdc_core.errors import InputError
from kdc_core.topics import camera_namespaces, output_namespaces


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ([], []),
        (["/image_raw"], [""]),
        (["/front/image_raw", "/back/image_raw"], ["/front", "/back"]),
        (["/left", "/right"], ["/left", "/right"]),  # both in the root namespace
        (["/a/left", "/a/right/compressed", "/b/image_raw"], ["/a/left", "/a/right", "/b"]),
    ],
)
def test_camera_namespaces(topics: list[str], expected: list[str]) -> None:
    assert camera_namespaces(topics) == expected


@pytest.mark.parametrize(
    ("topics", "node", "expected"),
    [
        (["/front/image_raw"], "/kdc", ["/kdc"]),  # one camera: below the node, wherever it is
        (["/front/image_raw"], "/robot/eyes", ["/robot/eyes"]),
        (["/front/image_raw", "/back/image_raw"], "/robot/eyes", ["/front/eyes", "/back/eyes"]),
        (["/left", "/right"], "/kdc", ["/left/kdc", "/right/kdc"]),
        (["/a/x/compressed", "/b/x/compressed"], "/kdc", ["/a/kdc", "/b/kdc"]),
    ],
)
def test_output_namespaces(topics: list[str], node: str, expected: list[str]) -> None:
    assert output_namespaces(topics, node) == expected


@pytest.mark.parametrize(
    "topics",
    [
        ["/a", "/b", "/a/image_raw"],
        ["/eye/image_raw", "/eye/image_raw/compressed"],
        ["/eye/image_raw", "/eye/image_raw"],  # two names that were remapped to one
    ],
)
def test_output_namespaces_refuses_collisions(topics: list[str]) -> None:
    with pytest.raises(InputError, match=r"would be published in /\S+/kdc; remap the topics"):
        output_namespaces(topics, "/kdc")
