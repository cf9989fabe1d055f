"""Names of ROS topics, for the node and for replayed recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kdc_core.errors import InputError

COMPRESSED = "/compressed"  # suffix that image_transport appends to the topic of a camera


def camera_namespaces(topics: Sequence[str]) -> list[str]:
    """Return the namespace of each camera, in the order of ``topics``.

    This is the namespace of the image topic: ``/front/image_raw`` → ``/front``. Cameras that share
    a namespace are distinguished by their topic: ``/left``, ``/right`` → ``/left``, ``/right``.

    Args:
        topics: absolute names of image topics, with or without ``/compressed``.
    """
    names = [topic.removesuffix(COMPRESSED) for topic in topics]
    parents = [name.rpartition("/")[0] for name in names]
    cameras = Counter(parents)
    return [
        parent if cameras[parent] == 1 else name
        for name, parent in zip(names, parents, strict=True)
    ]


def output_namespaces(topics: Sequence[str], node: str) -> list[str]:
    """Return the namespace of the outputs of each camera, in the order of ``topics``.

    The outputs of a single camera are in the namespace of the node: ``/kdc``. The outputs of
    several cameras are in the namespaces of the cameras, below the name of the node:
    ``/front/kdc``, ``/back/kdc``.

    Args:
        topics: absolute names of image topics, with or without ``/compressed``.
        node: absolute name of the node, such as ``/kdc``.

    Raises:
        InputError: the outputs of two cameras would have the same names.
    """
    if len(topics) == 1:
        return [node]
    name = node.rpartition("/")[2]
    spaces = [f"{camera}/{name}" for camera in camera_namespaces(topics)]
    for space, count in Counter(spaces).items():
        if count > 1:
            same = ", ".join(
                topic for topic, own in zip(topics, spaces, strict=True) if own == space
            )
            raise InputError(
                f"image topics {same}: the results of all of them would be published in {space}; "
                "remap the topics into different namespaces"
            )
    return spaces
