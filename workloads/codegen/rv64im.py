"""Kernels for RV64IM: those for RV64GC, which take bounds through a mask where the set has no MIN and MAX."""

from workloads.codegen.rv64gc import choices, generate, pack

__all__ = ["choices", "generate", "pack"]
