"""Bench: what kernels cost on devices, and whether a change of a code generator made them worse."""
