"""Benchmarks: time and memory of our programs, beside others where possible."""
