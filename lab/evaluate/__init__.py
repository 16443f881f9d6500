"""``python -m lab evaluate``: how right a model is."""
