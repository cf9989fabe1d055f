"""Recordings (rosbag2) to people and figures, without ROS."""
