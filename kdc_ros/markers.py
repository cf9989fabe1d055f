"""People as visualization_msgs/MarkerArray for RViz.

With depth, skeletons are at the true positions of the people. Without depth, they lie in a plane
one metre in front of the camera, at a nominal field of view: their shape and their position in the
image are right, size and distance are unknown.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from kdc_core.io import FAINT, colour_of
from kdc_core.skeleton import LIMBS
from kdc_ros.person_messages import FrameResult

LIFETIME = Duration(sec=1)  # markers disappear when the node stops
THICKNESS = 0.02  # metres, of limbs with depth; without depth a quarter of it


def skeletons(result: FrameResult) -> MarkerArray:
    """Return limbs, joints and id of every person.

    The first marker deletes those of the last frame.
    """
    array = MarkerArray()
    array.markers.append(Marker(header=result.header, action=Marker.DELETEALL))
    people = result.people
    points = _in_plane(result) if result.points is None else result.points
    shown = (people.keypoints[..., 2] >= FAINT) & np.isfinite(points).all(axis=2)
    size = THICKNESS if result.points is not None else THICKNESS / 4
    for row in range(len(people)):
        at = [Point(x=x, y=y, z=z) for x, y, z in points[row].astype(float).tolist()]
        joints = np.flatnonzero(shown[row]).tolist()
        limbs = [end for a, b in LIMBS if shown[row, a] and shown[row, b] for end in (a, b)]
        if not joints:
            continue
        for kind, name, rows, width in (
            (Marker.LINE_LIST, "limbs", limbs, size),
            (Marker.SPHERE_LIST, "joints", joints, 2 * size),
        ):
            marker = _marker(result, row, kind, name, width)
            marker.points = [at[k] for k in rows]
            array.markers.append(marker)
        top = min((at[k] for k in joints), key=_height)
        label = _marker(result, row, Marker.TEXT_VIEW_FACING, "id", 6 * size)
        label.text = str(people.ids[row])
        label.pose.position = Point(x=top.x, y=top.y - 6 * size, z=top.z)
        array.markers.append(label)
    return array


def _height(point: Point) -> float:
    return float(point.y)  # y points down


def _marker(result: FrameResult, row: int, kind: int, name: str, width: float) -> Marker:
    identity = int(result.people.ids[row])
    blue, green, red = (value / 255 for value in colour_of(identity))
    marker = Marker(header=result.header, ns=name, id=identity, type=kind, action=Marker.ADD)
    marker.scale.x = marker.scale.y = marker.scale.z = width
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.pose.orientation.w = 1.0
    marker.lifetime = LIFETIME
    return marker


def _in_plane(result: FrameResult) -> np.ndarray:
    """Return keypoints (P, 17, 3) in metres in the plane z = 1 m.

    The focal length is taken to be the longer side of the image.
    """
    height, width = result.people.labels.shape
    pixels = result.people.keypoints[..., :2] - (width / 2 - 0.5, height / 2 - 0.5)
    points = np.ones((*pixels.shape[:2], 3))
    points[..., :2] = pixels / max(width, height)
    return points
