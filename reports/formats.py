"""Numbers as text: three significant digits, an SI prefix, the unit; the same everywhere.

Two decisions: sizes of memory are binary (1 KiB = 1024 B), because that is how chips are sold; rates and
everything else are decimal (1 GB/s = 1e9 B/s). What does not exist is shown as a dash, never as zero.
"""

from __future__ import annotations

import math

MISSING, UNCHANGED = "-", "0 %"

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_MINUTE_S, _HOUR_S, _DAY_S, _YEAR_S = 60.0, 3600.0, 86400.0, 365.25 * 86400.0


def significant(value: float, digits: int = 3) -> str:
    """Plain decimal text of a value at so many significant digits, trailing zeros kept: 5.10, 11.3, 783."""
    if value == 0:
        return "0"
    exponent = _exponent(value, digits)
    decimals = digits - 1 - exponent
    # Rounding to tens or more first keeps "1230" from pretending to a fourth digit.
    rounded = round(value, decimals) if decimals < 0 else value
    return f"{rounded:.{max(0, decimals)}f}"


def engineering(value: float | None, unit: str, digits: int = 3) -> str:
    """Text of an SI value with the prefix that leaves 1 to 999: ``engineering(0.0113, "s")`` is "11.3 ms"."""
    if value is None:
        return MISSING
    power = prefix_power(value, digits)
    return f"{significant(value / 10.0**power, digits)} {_PREFIXES[power]}{unit}".rstrip()


def prefix_power(value: float, digits: int = 3) -> int:
    """Power of ten of the prefix that leaves 1 to 999 once rounded; within femto and peta."""
    if value == 0:
        return 0
    power = 3 * math.floor(_exponent(value, digits) / 3)
    return max(min(_PREFIXES), min(max(_PREFIXES), power))


def prefixed_unit(power: int, unit: str) -> str:
    """Put the prefix before a unit: ``prefixed_unit(-3, "s")`` is "ms"."""
    return f"{_PREFIXES[power]}{unit}"


def _exponent(value: float, digits: int) -> int:
    # The exponent after rounding: 999.9 at three digits is 1.00e3, so it takes the next prefix.
    return int(f"{value:.{digits - 1}e}".rpartition("e")[2])


def duration(value_s: float | None) -> str:
    """Text of a span of time: prefixed seconds up to two minutes, then min, h, days, years."""
    if value_s is None or abs(value_s) < 2 * _MINUTE_S:
        return engineering(value_s, "s")
    for limit_s, unit_s, unit in ((2 * _HOUR_S, _MINUTE_S, "min"), (2 * _DAY_S, _HOUR_S, "h"), (_YEAR_S, _DAY_S, "d")):
        if abs(value_s) < limit_s:
            return f"{significant(value_s / unit_s)} {unit}"
    return f"{significant(value_s / _YEAR_S)} years"


def size(value_bytes: float | None) -> str:
    """Text of a memory size, binary: ``size(53248)`` is "52.0 KiB"."""
    if value_bytes is None:
        return MISSING
    if abs(value_bytes) < 1024:
        return f"{value_bytes:.0f} B"
    value, step = float(value_bytes), 0
    while abs(value) >= 1023.5 and step < len(_BINARY) - 1:
        value, step = value / 1024, step + 1
    return f"{significant(value)} {_BINARY[step]}"


def percent(share: float | None, decimals: int = 1) -> str:
    """Text of a share 0..1; a share that is not quite all or nothing never reads 100 % or 0 %."""
    if share is None:
        return MISSING
    if share in (-1, 0, 1):
        return f"{100 * share:.0f} %"
    smallest = 10.0**-decimals
    value = 100 * share
    if 0 < value < smallest / 2:
        return f"< {smallest:.{decimals}f} %"
    if 100 - smallest / 2 < value < 100:
        return f"> {100 - smallest:.{decimals}f} %"
    return f"{value:.{decimals}f} %"


def integer(value: int | None) -> str:
    """Text of a count, thousands apart: ``integer(12345)`` is "12 345"."""
    return MISSING if value is None else f"{value:,}".replace(",", " ")


def change(before: float, after: float) -> str:
    """Text of a relative change, signed: "+12.0 %"; a factor beyond tenfold; a dash when it started at zero."""
    if before == after:
        return UNCHANGED
    if before == 0:
        return MISSING
    ratio = after / before
    if ratio >= 10:
        return f"×{significant(ratio, 2)}"  # noqa: RUF001 (the sign of multiplication is meant)
    return f"{100 * (ratio - 1):+.1f} %"


def band(value_s: float, low_s: float, high_s: float, *, calibrated: bool) -> str:
    """Text of a predicted time with its error band: "11.3 ms (7-18 ms, uncalibrated)", a digit more once calibrated."""
    power = prefix_power(value_s)
    scale = 10.0**power
    unit = prefixed_unit(power, "s")
    low, high = (trimmed(bound / scale, 3 if calibrated else 2) for bound in (low_s, high_s))
    note = "" if calibrated else ", uncalibrated"
    return f"{engineering(value_s, 's')} ({low}-{high} {unit}{note})"


def trimmed(value: float, digits: int) -> str:
    """Significant digits without trailing zeros after the point: 7 rather than 7.0."""
    text = significant(value, digits)
    # Zeros before the point are digits: 1000 keeps them.
    return text.rstrip("0").rstrip(".") if "." in text else text
