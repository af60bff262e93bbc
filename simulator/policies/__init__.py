"""Offload policies: one file each, found by name; a policy is a function ``decide(request, view)``."""
