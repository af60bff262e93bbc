"""Functions Graph -> Graph (fold, fuse, quantise) and the memory plan."""
