"""A progress bar on stderr that stays silent where nobody watches."""

from __future__ import annotations


class Bar:
    """Shows steps while it is open; called with how many are done."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def __enter__(self) -> Bar:
        if self._shown:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show that ``done`` of ``total`` steps are finished and ``what`` comes next."""
        if self._shown:
            self._bar.update(self._task, completed=done, total=total, description=what)
