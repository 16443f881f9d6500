"""Step 5: unit vectors to the nearest people."""
