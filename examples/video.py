"""Follow the people through a video, and write a video with the people drawn.

Usage: python video.py walk.mp4 people.mp4
"""

import sys

import cv2

import kdc_core


def main(source: str, target: str) -> None:
    """Write the drawn frames of the video ``source`` to the video ``target``."""
    capture = cv2.VideoCapture(source)
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    capture.release()
    writer, seen = None, set()
    with kdc_core.load() as model:
        for frame, people in model.track(source):
            if writer is None:
                writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"mp4v"), fps, frame.size)
            writer.write(kdc_core.draw(frame, people))
            seen.update(person.id for person in people)
    if writer is not None:
        writer.release()
    print(f"{len(seen)} different people")


if __name__ == "__main__":
    main(*sys.argv[1:])
