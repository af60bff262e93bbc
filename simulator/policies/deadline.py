"""Deadline: the place that is estimated to meet the deadline, at the lower energy when both do."""

from __future__ import annotations

from simulator.policies import LOCAL, REMOTE, Decision, Request, View


def decide(request: Request, view: View) -> Decision:
    """Place the request where it is estimated to be in time; when it is late everywhere, where it is sooner."""
    local_in_time = view.local_latency_s <= request.deadline_s
    remote_in_time = view.remote_latency_s <= request.deadline_s
    if local_in_time and remote_in_time:
        if view.remote_energy_j < view.local_energy_j:
            return Decision(REMOTE, "both in time, remote costs the device less energy")
        return Decision(LOCAL, "both in time, local costs the device less energy")
    if local_in_time:
        return Decision(LOCAL, "only local is in time")
    if remote_in_time:
        return Decision(REMOTE, "only remote is in time")
    if view.remote_latency_s < view.local_latency_s:
        return Decision(REMOTE, "late everywhere, remote is sooner")
    return Decision(LOCAL, "late everywhere, local is sooner")
