"""PeerAiD on SVHN: our setting, the paper does not use this data set.

python -m peeraid_jax.main --config=configs/svhn.py

CIFAR-10's hyperparameters, without mirroring: digits have no mirror image.
"""

from peeraid_jax import config as config_lib
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  config = config_lib.base(**recipes.choices(argument))
  config.data.name = 'svhn'
  config.data.flip = False
  recipes.apply(config)
  config.eval.select_on = 'validation'
  return config
