"""The buffer "parameters" of a generated kernel: named regions of constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.program import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.tensor import Array


@dataclass(frozen=True)
class Constants:
    """Named regions of the buffer "parameters", each at a multiple of 64 bytes."""

    offsets: Mapping[str, int]
    nbytes: int

    def address(self, name: str, offset: int = 0, **strides: int) -> Address:
        """Return the address of a byte of a region."""
        return Address("parameters", self.offsets[name] + offset, tuple(strides.items()))

    def pack(self, values: Mapping[str, Array]) -> Array:
        """Return the buffer's bytes with each region filled."""
        buffer = np.zeros(self.nbytes, np.uint8)
        for name, value in values.items():
            raw = np.ascontiguousarray(value).view(np.uint8).ravel()
            buffer[self.offsets[name] : self.offsets[name] + raw.size] = raw
        return buffer


def constants(regions: Mapping[str, int]) -> Constants:
    """Place regions of the given sizes one after another."""
    offsets, end = {}, 0
    for name, nbytes in regions.items():
        offsets[name] = end
        end += -(-nbytes // 64) * 64
    return Constants(offsets, end)
