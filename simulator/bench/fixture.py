"""What the pytest fixture ``presage_bench`` does: a Program's cost against the baseline file beside the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from device_models.device import load_device
from device_models.kernel_cache import generator_hash
from reports.bench_compare import compare, sentence
from reports.bench_record import Bench, Chip, Measured
from simulator.bench import emitters
from simulator.bench.command import DEFAULT_GATE, gate_of, read_baseline, write_baseline
from simulator.bench.measure import Clocking, bench
from simulator.bench.naming import printable
from simulator.bench.plan import program_job
from simulator.bench.suite import Target
from workloads.errors import InputError
from workloads.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class RegressionError(AssertionError):
    """A kernel costs more than its baseline allows, or has no baseline."""


@dataclass
class Checks:
    """The checks of one test.

    Parameters
    ----------
    file
        The baseline: one file for all tests of a module.
    test
        The test's name in its module.
    accept
        Make today's figures the baseline instead of comparing.
    notes
        What is worth telling although it does not fail.
    """

    file: Path
    test: str
    accept: bool = False
    notes: list[str] = field(default_factory=list)
    _found: dict[str, Measured] = field(default_factory=dict)
    _chips: dict[str, Chip] = field(default_factory=dict)

    def check(
        self,
        kernel: Program | Callable[..., Program],
        *,
        on: str,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        isa: str | None = None,
        fail_above: str = "0",
        gate: str = DEFAULT_GATE,
    ) -> Measured:
        """Price a Program on a device and compare it with the baseline.

        Parameters
        ----------
        kernel
            A Program, or a function that returns one; it gets ``arguments``, and ``isa`` if it has that parameter.
        on
            A device's name or file.
        name
            Tells kernels of one test apart; the Program's own name by default.
        isa
            One of the device's instruction sets; the best one by default.
        fail_above, gate
            As the options of ``presage bench``.

        Raises
        ------
        RegressionError
            A figure grew too much, or the baseline does not have this kernel.
        InputError
            The device is unknown or cannot run the Program, or the baseline file is wrong.
        """
        __tracebackhide__ = True  # the user's line is what matters
        device = load_device(on)
        chosen = isa or device.core.instruction_sets[0]
        if not isinstance(kernel, Program):
            kernel = emitters.emit(kernel, arguments or {}, {"isa": device.core.isa(chosen)})
        emitters.check(kernel, "presage_bench")
        job = program_job(kernel, Target(device, chosen), self.test, printable(name or kernel.name))
        found = bench(self.file.stem, [job], Clocking())
        (row,) = found.kernels
        if row.name in self._found:
            raise InputError("presage_bench", [f"{row.name} is checked twice; tell the kernels apart by name=..."])
        self._found[row.name] = row
        self._chips.update(found.devices)
        if not self.accept:
            self._compare(found, row, gate_of(fail_above, gate))
        return row

    def _compare(self, found: Bench, row: Measured, gate: Any) -> None:
        __tracebackhide__ = True
        old = read_baseline(self.file)
        compared = None if old is None else compare(found, old, gate)
        if compared is None or not compared.compared:
            raise RegressionError(f"{row.name}: not in {self.file.name}; accept it with pytest --presage-accept")
        for difference in compared.differences:
            if difference.failed:
                because = "".join(f"\n{note}" for note in compared.notes)
                raise RegressionError(f"{sentence(difference)}{because}\nIf this is meant: pytest --presage-accept")
            self.notes.append(sentence(difference))

    def finish(self) -> None:
        """Close a test that passed: write the baseline if asked to; a test that checked nothing fails.

        Raises
        ------
        RegressionError
            ``check`` was never called.
        """
        if not self._found:
            raise RegressionError(f"{self.test} asks for presage_bench, but checks nothing")
        old = read_baseline(self.file)
        mine = [] if old is None else [row.name for row in old.kernels if row.group == self.test]
        gone = [name for name in mine if name not in self._found]
        self.notes += [f"{name}: in {self.file.name}, but no longer checked" for name in gone]
        if self.accept:
            write_baseline(self._merged(old), self.file)

    def _merged(self, old: Bench | None) -> Bench:
        """Return the baseline with this test's rows in place of its old ones."""
        kept = [] if old is None else [row for row in old.kernels if row.group != self.test]
        rows = (*kept, *self._found.values())
        chips = {**({} if old is None else old.devices), **self._chips}
        used = {name: chips[name] for name in sorted({row.device for row in rows})}
        return Bench(schema=1, suite=self.file.stem, generators=generator_hash(), devices=used, kernels=rows)
