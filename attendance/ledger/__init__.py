"""Step 7: people, punches and attendance on record."""
