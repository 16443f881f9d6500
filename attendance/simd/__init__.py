"""Loops written in a processor's vectors, for the networks that run by kernels of our own."""
