"""A kernel to generate and price: all that another process must be told to do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_models.costing import best_options, generated, is_kept
from device_models.device import load_device
from workloads.codegen import choices, generate
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from device_models.costing import Kernel
    from device_models.device import Device
    from device_models.memory import Working
    from workloads.codegen.float_spec import AnySpec
    from workloads.program import Program


@dataclass(frozen=True)
class Order:
    """A kernel, where it runs, and what its generator is told.

    Parameters
    ----------
    chip
        The name or path of the device.
    options
        None for the best.
    working
        What its network keeps in memory; None for a kernel on its own.
    """

    spec: AnySpec
    chip: str
    isa: str
    options: Options | None = None
    working: Working | None = None

    def price(self) -> Kernel:
        """Return the cost.

        Raises
        ------
        NotImplementedError
            No kernel is generated for it on that instruction set.
        ValueError
            The generator does not offer these options for it.
        """
        return generated(self.spec, self._device, self.working, self._chosen(), self.isa)

    def program(self) -> Program:
        """Return the Program; raises as ``price``."""
        return generate(self.spec, self._device.core.isa(self.isa), self._chosen())

    def is_kept(self) -> bool:
        """Whether the cost lies on disk."""
        return is_kept(self.spec, self._device, self.working, self._named(), self.isa)

    @property
    def _device(self) -> Device:
        return load_device(self.chip)

    def _chosen(self) -> Options:
        named = self._named()
        return best_options(self.spec, self._device, self.working, self.isa) if named is None else named

    def _named(self) -> Options | None:
        """Return the named options; None where none are, or where a layer of a network has no use for them."""
        if self.options in (None, DEFAULT) or self.working is None:
            return self.options
        offered = choices(self.spec, self._device.core.isa(self.isa))
        return self.options if any(map(self.options.agrees, offered)) else None
