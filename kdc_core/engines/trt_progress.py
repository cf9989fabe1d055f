"""How far TensorRT's builder is, where it tells (10 and newer)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: called with the phase, its steps done and its steps in all
ProgressCallback = Callable[[str, int, int], None]


def monitor(trt: Any, watch: ProgressCallback) -> Any:
    """A monitor for ``IBuilderConfig.progress_monitor``; None where TensorRT has none.

    An interrupt in the middle of a build ends it: exceptions must not pass through TensorRT.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # a module found at run time
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}
            self.interrupted = False

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            self._tell(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            self._tell(phase, step + 1)
            return not self.interrupted

        def phase_finish(self, phase: str) -> None:
            self._tell(phase, self.steps.pop(phase, 0))

        def _tell(self, phase: str, done: int) -> None:
            try:
                watch(phase, done, max(self.steps.get(phase, done), 1))
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()
