"""Counts: tensors, quantisation, layers, kernels, generated programs; integers, never seconds."""
