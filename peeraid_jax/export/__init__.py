"""Trained networks for other programs: files, and a card that goes with them.

    python -m peeraid_jax.export --workdir=DIR --role=student --format=onnx

In Python, `export.files.export` does the same. Nothing is imported here, so
that the command tells what is wrong with its flags at once.
"""
