"""Remote: every request runs in the cloud."""

from __future__ import annotations

from simulator.policies import REMOTE, Decision, Request, View

_DECISION = Decision(REMOTE, "always remote")


def decide(request: Request, view: View) -> Decision:  # noqa: ARG001 (a policy is called with both)
    """Place the request in the cloud."""
    return _DECISION
