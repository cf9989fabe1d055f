"""Keypoints as Dynamic Centroids: one camera frame to masks and skeletons of every person."""

__version__ = "0.1.0"
