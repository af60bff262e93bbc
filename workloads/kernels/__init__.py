"""Numba integer kernels and their plain-numpy oracles."""
