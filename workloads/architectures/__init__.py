"""Published network architectures as functions that return a Graph with seeded weights."""
