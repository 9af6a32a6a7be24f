"""Packaging of peeraid_jax: version ranges here, the tested set of exact
versions in requirements.txt."""

import pathlib

import setuptools

HERE = pathlib.Path(__file__).parent

REQUIRES = [
  'absl-py>=2.1',
  'array_record>=0.6',
  'chex>=0.1.92',
  'flatbuffers>=24.3',  # what jax.export writes
  'flax>=0.12.8,<0.13',
  'grain>=0.2.15,<0.3',  # reads images that do not fit on the device
  'importlib_resources>=6.0',  # needed by TFDS, undeclared there
  'jax>=0.10',
  'Jinja2>=3.1',  # the report's page
  'matplotlib>=3.9',  # and its figures
  'ml-collections>=1.0',
  'numpy>=2.0',
  'optax>=0.2.8,<0.3',
  # The lower one is what jax2onnx allows.
  'orbax-checkpoint>=0.11.36,<0.13',
  'Pillow>=10.0',  # needed by TFDS to decode without TensorFlow
  'safetensors>=0.5',
  'scikit-learn>=1.5',  # the embedded digits; t-SNE
  'scipy>=1.13',  # reads SVHN's .mat archives
  'tensorboardX>=2.6',
  'tensorflow-datasets>=4.9.10,<5',
  'tqdm>=4.66',
]

TEST = [
  'hypothesis>=6.100',
  'pytest>=8.0',
  'pytest-xdist>=3.6',
  'ruff>=0.17,<0.18',
]

setuptools.setup(
  name='peeraid_jax',
  version='0.1.0',
  description=(
    'Small image classifiers that withstand adversarial attack: PeerAiD '
    'in JAX and Flax, one compiled step, evaluated with care.'
  ),
  long_description=(HERE / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['peeraid_jax', 'peeraid_jax.*']),
  package_data={'peeraid_jax.report': ['page.html']},
  install_requires=REQUIRES,
  extras_require={
    'test': TEST,
    # AutoAttack's authors' code, which tests and a benchmark compare with.
    'oracle': ['pyautoattack==0.2.0', 'torch>=2.4'],
    # Exports to ONNX, and compares them.
    'onnx': ['jax2onnx>=0.17,<0.18', 'onnx>=1.20', 'onnxruntime>=1.22'],
    # Writes PyTorch's own format; reading it needs nothing.
    'torch': ['torch>=2.4'],
    'cuda13': ['jax[cuda13]>=0.10'],
    'tpu': ['jax[tpu]>=0.10'],
  },
)
