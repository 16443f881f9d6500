"""Step 4: aligned faces to unit vectors."""
