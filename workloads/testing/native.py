"""A kernel in a shared library, called in a child process: crashes and hangs are reported, not suffered."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError
from workloads.testing.abi import DONE, UNSUPPORTED
from workloads.testing.calling import KernelError, UnsupportedError, arguments
from workloads.testing.pipe import receive, send

if TYPE_CHECKING:
    from types import TracebackType

    from workloads.tensor import Array
    from workloads.testing.case import Case

TIME_LIMIT_S = 10.0  # for one call


class NativeKernel:
    """A C function of the type ``presage_kernel``; ``presage fuzz --abi`` prints its declaration.

    Use it in a ``with`` block, or call ``close``; it is restarted after a crash.

    Parameters
    ----------
    library
        The shared library.
    symbol
        The function's name.
    time_limit_s
        A call that takes longer is a fault. [s]

    Raises
    ------
    InputError
        The library cannot be loaded or has no such function.
    """

    def __init__(self, library: str | Path, symbol: str, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self.library, self.symbol, self.time_limit_s = Path(library), symbol, time_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        if not self.library.is_file():
            raise InputError(
                "--library", [f"{str(library)!r} is no file; build a shared library, e.g. gcc -shared -fPIC"]
            )
        self._start()

    def __enter__(self) -> NativeKernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, case: Case) -> Array:
        """Run the function on a case.

        Raises
        ------
        UnsupportedError
            It returned PRESAGE_UNSUPPORTED.
        KernelError
            It crashed, hung, returned an error, or wrote outside its output.
        """
        values = arguments(case)
        answer = self._ask({name: value for name, value in values.items() if value is not None})
        if answer["status"] == UNSUPPORTED:
            raise UnsupportedError(f"{self.symbol} does not support this case")
        if answer["status"] != DONE:
            raise KernelError(f"returned {answer['status']}; expected {DONE} (done) or {UNSUPPORTED}")
        if not answer["clean"]:
            raise KernelError("wrote outside its output")
        return answer["output"]  # type: ignore[no-any-return]  # an array, by the protocol

    def close(self) -> None:
        """End the child process."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        command = [sys.executable, "-m", "workloads.testing.worker", str(self.library.resolve()), self.symbol]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and the user's own library
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        answer = None if self._process.stdout is None else receive(self._process.stdout)
        if answer is None or "ready" not in answer:
            reason = "the process that loads it ended" if answer is None else answer["error"]
            self.close()
            raise InputError("--library", [f"{str(self.library)!r}, symbol {self.symbol!r}: {reason}"])

    def _ask(self, values: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._start()
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise KernelError(f"{self.symbol} has no process to run in")
        timer = Timer(self.time_limit_s, process.kill)
        timer.start()
        try:
            send(process.stdin, values)
            answer = receive(process.stdout)
        except OSError:
            answer = None
        finally:
            in_time = timer.is_alive()
            timer.cancel()
        if answer is not None:
            return answer
        status = process.wait()
        self.close()
        if not in_time:
            raise KernelError(f"did not return within {self.time_limit_s:g} s")
        raise KernelError(f"crashed: {_reason(status)}")


def _reason(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
