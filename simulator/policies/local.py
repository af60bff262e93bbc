"""Local: every request runs on the device."""

from __future__ import annotations

from simulator.policies import LOCAL, Decision, Request, View

_DECISION = Decision(LOCAL, "always local")


def decide(request: Request, view: View) -> Decision:  # noqa: ARG001 (a policy is called with both)
    """Place the request on the device."""
    return _DECISION
