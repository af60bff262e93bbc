"""Model files in: one module per format, each a function ``read(path) -> Graph``."""
