"""``python -m lab export``: a trained network as a file and a card that the product runs."""
