"""Physics: what a kernel costs on a core, in cycles, seconds, joules; every figure with its source."""
