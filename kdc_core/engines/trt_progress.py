"""Report the progress of TensorRT's builder (TensorRT 10 and newer)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: called with the name of the phase, its finished steps, and its total number of steps
ProgressCallback = Callable[[str, int, int], None]


def progress_monitor(trt: Any, callback: ProgressCallback) -> Any:
    """Return a monitor for ``IBuilderConfig.progress_monitor``, or None if TensorRT has none.

    Exceptions must not pass through TensorRT. Therefore a KeyboardInterrupt in ``callback`` sets
    ``interrupted`` and ends the build.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the module is found at run time
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}
            self.interrupted = False

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            self._report(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            self._report(phase, step + 1)
            return not self.interrupted

        def phase_finish(self, phase: str) -> None:
            self._report(phase, self.steps.pop(phase, 0))

        def _report(self, phase: str, done: int) -> None:
            try:
                callback(phase, done, max(self.steps.get(phase, done), 1))
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()
