"""Backups of everything that cannot be made again: one encrypted file, and the way back from it."""
