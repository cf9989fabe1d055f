"""From annotated pictures to weights; needs torch."""
