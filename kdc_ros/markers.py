"""People → visualization_msgs/MarkerArray for RViz.

With depth the skeletons stand where the people are. Without it they lie in a picture plane one
metre before the camera, at a nominal field of view: shape and place in the picture are right,
size and distance are not known.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from kdc_core.io import FAINT, colour_of
from kdc_core.skeleton import LIMBS
from kdc_ros.person_messages import Result

LIFETIME = Duration(sec=1)  # so that nobody stays when the node is gone
THICK = 0.02  # metres, of limbs at a distance of one metre or with depth


def skeletons(result: Result) -> MarkerArray:
    """Limbs, joints and id of every person; begins by deleting those of the last picture."""
    array = MarkerArray()
    array.markers.append(Marker(header=result.header, action=Marker.DELETEALL))
    people = result.people
    places = _plane(result) if result.points is None else result.points
    shown = (people.keypoints[..., 2] >= FAINT) & np.isfinite(places).all(axis=2)
    size = THICK if result.points is not None else THICK / 4
    for row in range(len(people)):
        here = places[row].astype(float).tolist()
        joints = np.flatnonzero(shown[row]).tolist()
        limbs = [end for a, b in LIMBS if shown[row, a] and shown[row, b] for end in (a, b)]
        if not joints:
            continue
        for kind, name, rows, wide in (
            (Marker.LINE_LIST, "limbs", limbs, size),
            (Marker.SPHERE_LIST, "joints", joints, 2 * size),
        ):
            marker = _marker(result, row, kind, name, wide)
            marker.points = [Point(x=here[k][0], y=here[k][1], z=here[k][2]) for k in rows]
            array.markers.append(marker)
        top = min(joints, key=lambda k: here[k][1])  # y points down
        label = _marker(result, row, Marker.TEXT_VIEW_FACING, "id", 6 * size)
        label.text = str(people.ids[row])
        label.pose.position = Point(x=here[top][0], y=here[top][1] - 6 * size, z=here[top][2])
        array.markers.append(label)
    return array


def _marker(result: Result, row: int, kind: int, name: str, wide: float) -> Marker:
    identity = int(result.people.ids[row])
    blue, green, red = (value / 255 for value in colour_of(identity))
    marker = Marker(header=result.header, ns=name, id=identity, type=kind, action=Marker.ADD)
    marker.scale.x = marker.scale.y = marker.scale.z = wide
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.pose.orientation.w = 1.0
    marker.lifetime = LIFETIME
    return marker


def _plane(result: Result) -> np.ndarray:
    """Keypoints (P, 17, 3) on the plane z = 1 m of a camera that is as wide as it looks far."""
    height, width = result.people.labels.shape
    points = result.people.keypoints[..., :2] - (width / 2 - 0.5, height / 2 - 0.5)
    places = np.ones((*points.shape[:2], 3))
    places[..., :2] = points / max(width, height)
    return places
