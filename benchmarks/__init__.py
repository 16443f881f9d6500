"""Scripts that measure what the project promises, and their dated results. ``python -m benchmarks --list``."""
