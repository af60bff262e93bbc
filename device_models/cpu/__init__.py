"""CPUs: what layers ask of vector units, caches and threads, for libraries that multiply matrices in blocks."""
