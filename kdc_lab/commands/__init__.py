"""Implement the ``kdc`` commands that train, measure and replay."""
