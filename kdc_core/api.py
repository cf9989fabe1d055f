"""The Python interface of KDC."""
