"""Model files out."""
