"""KDC in ROS 2: converts, schedules and publishes; the seeing is kdc_core's."""
