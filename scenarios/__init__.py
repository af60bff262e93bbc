"""Scenario files shipped with presage (TOML data)."""
