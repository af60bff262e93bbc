"""Grid: operational carbon from energy, on its way from the meter to the load."""

from __future__ import annotations

from dataclasses import dataclass

JOULES_PER_KILOWATT_HOUR = 3.6e6


@dataclass(frozen=True)
class Grid:
    """A grid's carbon intensity; ``kind`` is "average" or "marginal", which must never be added to each other."""

    name: str
    intensity_g_per_kwh: float
    kind: str


def operational_g(energy_j: float, intensity_g_per_kwh: float, efficiency: float = 1.0, pue: float = 1.0) -> float:
    """Carbon of energy that reached a load. [gCO2e]

    Parameters
    ----------
    efficiency
        Share of the metered energy that reaches the load, 0..1, e.g. of charging.
    pue
        Power usage effectiveness: metered energy of a data centre over that of its machines, at least 1.

    References
    ----------
    .. [1] Green Software Foundation, "Software Carbon Intensity", v1.1.0 (ISO/IEC 21031:2024): O = E * I.
    """
    return energy_j * pue / efficiency / JOULES_PER_KILOWATT_HOUR * intensity_g_per_kwh
