"""A progress bar on the terminal's stderr, for whatever takes more than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str, int, int], None]
"""Called with (stage, done, all)."""

DELAY = 1.0
"""Seconds before the bar appears."""


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """Give a function to tell how far the work has come."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(title, total=None, stage="")
    lock = threading.Lock()
    ended = False

    def appear() -> None:
        with lock:
            if not ended:
                bar.start()

    timer = threading.Timer(DELAY, appear)
    timer.daemon = True
    timer.start()
    try:
        yield lambda stage, done, total: bar.update(
            task, completed=done, total=total, stage=stage
        )
    finally:
        timer.cancel()
        with lock:
            ended = True
            bar.stop()
