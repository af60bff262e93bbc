"""Statements of one kernel as a part of another: what its buffers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen.common import readdressed
from workloads.program import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.codegen.common import Body


def placed(body: Body, places: Mapping[str, Address]) -> Body:
    """Return ``body`` with each buffer that ``places`` names lying at the address given for it."""

    def moved(address: Address) -> Address:
        to = places.get(address.buffer)
        if to is None:
            return address
        return Address(to.buffer, to.offset + address.offset, to.strides + address.strides)

    return readdressed(body, moved)
