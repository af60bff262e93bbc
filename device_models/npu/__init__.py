"""Neural processors of the DaVinci kind as their vendor's compiler uses them: kernels, storage, units, amounts."""
