"""Real runs of this project: lists of them, a runner, and their results."""
