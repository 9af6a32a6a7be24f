"""Exports trained networks for other programs, each with a model card.

    python -m peeraid_jax.export --workdir=DIR --role=student --format=onnx

In Python, `export.network.export` does the same. Nothing is imported here, so
that `--help` and a mistyped flag answer at once.
"""
