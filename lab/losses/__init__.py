"""Losses: unnormalised embeddings (N, D) and labels (N,) to a scalar. Margins act on cosines: one per file."""
