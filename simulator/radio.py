"""Radio: promotion, transfer, tail and idle as a state machine whose energy has a closed form between events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Phase:
    """A state of the radio without data: how long it lasts, what it draws, when it listens.

    Parameters
    ----------
    last_s
        Time until the next phase; infinite for idle. [s]
    draw_w
        Mean over a listening cycle. [W]
    on_s, cycle_s
        The radio listens for ``on_s`` at the start of each cycle; a cycle of 0 means that it always listens. [s]
    """

    name: str
    last_s: float
    draw_w: float
    on_s: float = 0.0
    cycle_s: float = 0.0


@dataclass(frozen=True)
class Radio:
    """A radio's figures; a transfer draws ``base_w`` and pays per bit on top.

    Parameters
    ----------
    tail
        What follows the last byte, in order, until the radio is idle.
    """

    promotion_s: float
    promotion_w: float
    base_w: float
    up_j_per_bit: float
    down_j_per_bit: float
    tail: tuple[Phase, ...]
    idle: Phase

    @cached_property
    def tail_lasts_s(self) -> tuple[float, ...]:
        """Durations of the tail's phases. [s]"""
        return tuple(phase.last_s for phase in self.tail)

    @cached_property
    def tail_draws_w(self) -> tuple[float, ...]:
        """Powers of the tail's phases. [W]"""
        return tuple(phase.draw_w for phase in self.tail)

    @cached_property
    def tail_s(self) -> float:
        """Time from the last byte until the radio is idle. [s]"""
        return sum(self.tail_lasts_s)


def cycle_mean_w(base_w: float, burst_w: float, burst_s: float, cycle_s: float) -> float:
    """Mean power of a cycle that draws ``burst_w`` for ``burst_s`` and ``base_w`` for the rest. [W]"""
    return base_w + (burst_w - base_w) * burst_s / cycle_s


def tail_energy_j(elapsed_s: float, lasts_s: tuple[float, ...], draws_w: tuple[float, ...]) -> float:
    """Energy of the tail in the first ``elapsed_s`` after the last byte, without what idle draws afterwards. [J]"""
    energy_j = 0.0
    left_s = elapsed_s
    for last_s, draw_w in zip(lasts_s, draws_w, strict=True):
        spent_s = min(left_s, last_s)
        energy_j += draw_w * spent_s
        left_s -= spent_s
    return energy_j


def transfer_energy_j(base_w: float, j_per_bit: float, bits: float, duration_s: float) -> float:
    """Energy of moving ``bits`` in ``duration_s``, pauses at base power included. [J]"""
    return base_w * duration_s + j_per_bit * bits


def listening_wait_s(elapsed_s: float, on_s: float, cycle_s: float) -> float:
    """Time until a radio that listens at the start of each cycle can be reached. [s]"""
    if cycle_s <= 0.0:
        return 0.0
    into_s = elapsed_s % cycle_s
    return 0.0 if into_s <= on_s else cycle_s - into_s


def phase_at(radio: Radio, elapsed_s: float) -> tuple[Phase, float]:
    """Return the phase ``elapsed_s`` after the last byte, and the time spent in it."""
    for phase in radio.tail:
        if elapsed_s < phase.last_s:
            return phase, elapsed_s
        elapsed_s -= phase.last_s
    return radio.idle, elapsed_s


def request_energy_j(radio: Radio, upload_bytes: float, rate_bps: float, gap_s: float) -> float:
    """Energy per request of uploads that follow each other with a gap, without idle listening. [J]

    Parameters
    ----------
    upload_bytes
        Size of each upload; an empty one never wakes the radio. [B]
    rate_bps
        Uplink rate. [bit/s]
    gap_s
        From the end of one transfer to the start of the next. [s]

    References
    ----------
    .. [1] J. Huang et al., "A close examination of performance and power characteristics of 4G LTE networks",
       MobiSys 2012, doi 10.1145/2307636.2307658.
    """
    if upload_bytes <= 0.0:
        return 0.0
    bits = 8.0 * upload_bytes
    promotion_j = radio.promotion_s * radio.promotion_w if gap_s >= radio.tail_s else 0.0
    moving_j = transfer_energy_j(radio.base_w, radio.up_j_per_bit, bits, bits / rate_bps)
    return promotion_j + moving_j + tail_energy_j(gap_s, radio.tail_lasts_s, radio.tail_draws_w)
