"""Faces for training: where they lie, how they are varied, in which order they come, and how they reach the network."""
