"""Turns: places that requests hold for a while, first come first served."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import simpy


class Turns:
    """So many places and one queue before them; whoever leaves hands its place to the longest waiting."""

    __slots__ = ("_free", "_places", "_waiting")

    def __init__(self, places: int = 1) -> None:
        self._places = self._free = places
        self._waiting: deque[simpy.Event] = deque()

    def __len__(self) -> int:
        """Count who holds a place or waits for one."""
        return self._places - self._free + len(self._waiting)

    def take(self, env: simpy.Environment) -> simpy.Event | None:
        """Take a free place and return None, or return the event that comes with a place."""
        if self._free:
            self._free -= 1
            return None
        turn = env.event()
        self._waiting.append(turn)
        return turn

    def leave(self) -> None:
        """Give the place back."""
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._free += 1
