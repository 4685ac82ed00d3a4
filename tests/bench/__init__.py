"""Benchmarks: each prints figure, target and machine, and asserts nothing."""
