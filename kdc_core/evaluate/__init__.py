"""Judging people against annotations: COCO's figures, ablations, reports."""
