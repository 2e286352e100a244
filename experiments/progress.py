"""What a person sees while a run goes on: a bar on a terminal, a line now and then in a log file."""

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Shows steps per second, the time left and the current return of a run.

    Args:
      console: where to print; None to stay silent.
    """

    def __init__(self, console: Console | None):
        self._console = console
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._total = self._first = 0
        self._steps = 0
        self._begun = self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._console is not None:
            (self._bar.console if self._bar else self._console).print(text, highlight=False)

    def start(self, total: int, done: int, steps: int, seconds: float) -> None:
        """Begin to show progress.

        Args:
          total: how many chunks there are, of which `done` were done before.
          steps: environment steps of all cells over all chunks.
          seconds: how long tracing and compiling took.
        """
        self._total, self._first, self._steps = total, done, steps
        self._begun = self._last_line = time.monotonic()
        self.say(f"compiled in {seconds:.1f} s")
        if self._console is not None and self._console.is_terminal:
            self._bar = Bar(
                TextColumn("training"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                TimeElapsedColumn(),
                console=self._console,
                expand=True,
            )
            self._task = self._bar.add_task("training", total=total, completed=done, status="")
            self._bar.start()

    def update(self, done: int, current_return: float, num_diverged: int) -> None:
        """Show that `done` chunks are finished, the mean return now, and how many cells have diverged."""
        if self._console is None:
            return
        elapsed = time.monotonic() - self._begun
        rate = self._steps * (done - self._first) / self._total / max(elapsed, 1e-9)
        left = elapsed * (self._total - done) / max(done - self._first, 1)
        parts = [f"{rate:,.0f} steps/s", f"{left:.0f} s left"]
        if math.isfinite(current_return):
            parts.append(f"return {current_return:.1f}")
        if num_diverged:
            parts.append(f"{num_diverged} diverged")
        status = " · ".join(parts)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, status=status)
        elif time.monotonic() - self._last_line >= LINE_EVERY or done == self._total:
            self._last_line = time.monotonic()
            self._console.print(f"chunk {done}/{self._total} · {status}", highlight=False)

    def stop(self) -> None:
        """Take the bar off the screen, leaving its last state."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
