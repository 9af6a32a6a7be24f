"""Packaging of peeraid_jax.

Version ranges of dependencies stand here; requirements.txt lists the exact
versions that the tests passed with.
"""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent


def _version() -> str:
  """Reads `__version__` without importing the package and its dependencies."""
  text = (HERE / 'peeraid_jax/__init__.py').read_text()
  match = re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE)
  if not match:
    raise ValueError("peeraid_jax/__init__.py has no line __version__ = '...'")
  return match[1]


REQUIRES = [
  'absl-py>=2.1',
  'array_record>=0.6',
  'chex>=0.1.92',
  'filelock>=3.12',  # JAX limits the size of its compilation cache with it
  'flatbuffers>=24.3',  # jax.export needs it to write StableHLO
  'flax>=0.12.8,<0.13',
  'grain>=0.2.15,<0.3',  # reads images that do not fit on the device
  'importlib_resources>=6.0',  # TFDS imports it without declaring it
  'jax>=0.10',
  'Jinja2>=3.1',  # renders the report's HTML page
  'matplotlib>=3.9',  # draws the report's figures
  'ml-collections>=1.0',
  'numpy>=2.0',
  'optax>=0.2.8,<0.3',
  'orbax-checkpoint>=0.11.36,<0.13',  # jax2onnx requires the oldest of these
  'Pillow>=10.0',  # decodes images for TFDS without TensorFlow
  'safetensors>=0.5',
  'scikit-learn>=1.5',  # contains the digits data set; t-SNE
  'scipy>=1.13',  # reads SVHN's .mat archives
  'tensorboardX>=2.6',
  'tensorflow-datasets>=4.9.10,<5',
  'tqdm>=4.66',
]

TEST = [
  'hypothesis>=6.100',
  'mypy>=2.4,<3',
  'pytest>=8.0',
  'pytest-xdist>=3.6',
  'ruff>=0.17,<0.18',
]

setuptools.setup(
  name='peeraid_jax',
  version=_version(),
  description=(
    'Trains small image classifiers that withstand adversarial attacks: '
    'PeerAiD and related methods in JAX and Flax, with careful evaluation.'
  ),
  long_description=(HERE / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['peeraid_jax', 'peeraid_jax.*']),
  package_data={
    'peeraid_jax': ['py.typed'],
    'peeraid_jax.report': ['page.html'],
  },
  install_requires=REQUIRES,
  extras_require={
    'test': TEST,
    # AutoAttack by its authors, for the tests and a benchmark that compare
    # ours with it.
    'oracle': ['pyautoattack==0.2.0', 'torch>=2.4'],
    # Exports to ONNX, and compares the export with the network.
    'onnx': ['jax2onnx>=0.17,<0.18', 'onnx>=1.20', 'onnxruntime>=1.22'],
    # Writes PyTorch's own format. Reading that format needs no extra.
    'torch': ['torch>=2.4'],
    'cuda13': ['jax[cuda13]>=0.10'],
    'tpu': ['jax[tpu]>=0.10'],
  },
)
