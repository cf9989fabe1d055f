"""Makes the helpers in the test folders importable; tests are imported by their own paths."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent
sys.path[:0] = map(str, (TESTS, *sorted(path for path in TESTS.iterdir() if path.is_dir())))
