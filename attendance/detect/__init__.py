"""Step 2: images to faces."""
