"""The lab: judges face-recognition models. Run from the checkout: ``python -m lab``."""
