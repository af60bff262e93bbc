"""Core models: how many cycles a Program takes, one module per kind of core."""
