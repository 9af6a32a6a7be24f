"""Experiments of this project: their list, a runner, results and benchmarks."""
