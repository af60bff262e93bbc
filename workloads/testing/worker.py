"""The child process that calls a C kernel, so that a crash of the kernel does not end the search."""

from __future__ import annotations

import ctypes
import os
import sys

from workloads.testing.abi import run
from workloads.testing.pipe import receive, send


def serve(library: str, symbol: str) -> int:
    """Answer cases from standard input until it ends."""
    # What the kernel prints must not land between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        function = getattr(ctypes.CDLL(library), symbol)
    except (OSError, AttributeError) as error:
        send(answers, {"error": str(error)})
        return 1
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int32
    send(answers, {"ready": 1})
    while (values := receive(sys.stdin.buffer)) is not None:
        status, output, clean = run(function, values)
        send(answers, {"status": status, "clean": clean, "output": output})
    return 0


if __name__ == "__main__":
    sys.exit(serve(*sys.argv[1:3]))
