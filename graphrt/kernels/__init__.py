"""Strategies: how one group of fused nodes becomes loops. Pointwise sweeps, reductions, contractions, scatters."""
