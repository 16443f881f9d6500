"""Sample people, and videos made of them by code: what `make demo`, tests and benchmarks play to the camera."""
