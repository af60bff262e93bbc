"""Battery-aware: offload by battery and network; a low battery or a weak signal keeps everything local."""

from __future__ import annotations

from simulator.link import Signal
from simulator.policies import LOCAL, REMOTE, Decision, Request, View


def decide(request: Request, view: View, *, low_battery: float = 0.15, minimum_uplink_bps: float = 5e5) -> Decision:
    """Offload unless the battery is low, the signal weak, or the deadline is only met on the device.

    Parameters
    ----------
    low_battery
        State of charge below which nothing is offloaded, 0..1.
    minimum_uplink_bps
        Observed uplink below which the network counts as weak. [bit/s]
    """
    if view.state_of_charge < low_battery:
        return Decision(LOCAL, "battery low")
    if view.signal is Signal.NONE:
        return Decision(LOCAL, "no signal")
    if view.signal is Signal.WEAK or view.uplink_bps < minimum_uplink_bps:
        return Decision(LOCAL, "weak network")
    if view.local_latency_s <= request.deadline_s < view.remote_latency_s:
        return Decision(LOCAL, "only local is in time")
    return Decision(REMOTE, "good network, battery not low")
