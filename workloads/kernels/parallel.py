"""Threads for the kernels: a team whose members take turns at the parts of a layer, inside compiled code.

A member that waits does so in compiled code without the interpreter's lock, for the next layer follows at once: waking
a sleeping thread takes longer than many a layer. What a team shares lies in words, each on a cache line of its own.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Thread
from typing import TYPE_CHECKING

from workloads.kernels.jit import kernel
from workloads.kernels.turns import BEGUN, JOB, LINE, MEMBERS, NEXT, new_turns, pause, read_word, write_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.tensor import Array

SMALLEST_SHARE = 1_000_000  # multiply-accumulates that take longer than handing work to a thread
SPINS = 20_000  # about a millisecond of waiting awake
NAP_S = 1e-4

_team: ContextVar[Team | None] = ContextVar("kernel_threads", default=None)


@contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Let kernels called inside a ``with`` block use this many threads; one is the default.

    Raises
    ------
    ValueError
        ``threads`` is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads ({threads!r}) must be at least 1")
    if threads == 1:
        yield
        return
    team = Team(threads - 1)
    token = _team.set(team)
    try:
        yield
    finally:
        _team.reset(token)
        team.dismiss()


def thread_count(macs: int) -> int:
    """Return the threads to use for so many multiply-accumulates."""
    team = _team.get()
    return 1 if team is None else max(1, min(1 + team.members, macs // SMALLEST_SHARE))


def share(work: Callable[[Array], None], threads: int) -> None:
    """Call ``work(turns)`` here, and with several threads in the team too.

    The kernel that it calls begins with ``begin(turns)`` and computes part ``take(turns)`` until there is none left,
    so that a core that is busy elsewhere delays nobody.
    """
    team = _team.get()
    if team is None or threads <= 1:
        work(new_turns())
    else:
        team.share(work)


class Team:
    """Threads that help with one job after another, while they are called."""

    def __init__(self, members: int) -> None:
        self.members = members
        self._turns = new_turns(members)
        self._work: Callable[[Array], None] | None = None
        self._dismissed = False
        self._failures: list[BaseException] = []
        self._wake = [Event() for _ in range(members)]
        self._threads = [
            Thread(target=self._serve, args=(member,), name=f"kernel-{member}", daemon=True)
            for member in range(members)
        ]
        for thread in self._threads:
            thread.start()

    def share(self, work: Callable[[Array], None]) -> None:
        """Call ``work`` here and in the members that come in time; return when all are done."""
        self._failures.clear()
        self._turns[NEXT] = 0
        self._work = work
        self._call()
        try:
            work(self._turns)
        finally:
            self._work = None
            while not all_idle(self._turns, self.members, SPINS):
                time.sleep(NAP_S)
        if self._failures:
            raise self._failures[0]

    def dismiss(self) -> None:
        """End the threads."""
        self._dismissed = True
        self._call()
        self._turns[BEGUN] = self._turns[JOB]
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        """Announce a job, also to members that sleep."""
        self._turns[JOB] += 1
        for event in self._wake:
            event.set()

    def _serve(self, member: int) -> None:
        """Help with each job, once a thread has begun it: only then is the interpreter's lock free."""
        seen = 0
        while not self._dismissed:
            begun = await_job(self._turns, member, seen, SPINS)
            if begun == seen:
                self._wake[member].clear()
                if self._turns[JOB] == seen:
                    self._wake[member].wait()
                continue
            seen = begun
            self._turns[MEMBERS + LINE * member] = 1
            work = self._work
            if work is not None:
                try:
                    work(self._turns)
                except BaseException as failure:  # raised again where the job was given
                    self._failures.append(failure)


@kernel
def await_job(turns: Array, member: int, seen: int, spins: int) -> int:
    """Be idle until a job other than ``seen`` has begun, at most so many rounds; return the last that has."""
    write_word(turns, MEMBERS + LINE * member, 0)
    for _ in range(spins):
        if read_word(turns, BEGUN) != seen:
            break
        pause()
    return read_word(turns, BEGUN)


@kernel
def all_idle(turns: Array, members: int, spins: int) -> bool:
    """Wait until no member is busy, at most so many rounds; return whether none is."""
    for _ in range(spins):
        busy = 0
        for member in range(members):
            busy += read_word(turns, MEMBERS + LINE * member)
        if busy == 0:
            return True
        pause()
    return False
