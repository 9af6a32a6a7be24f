"""PeerAiD on SVHN: our setting, the paper does not use this data set.

python -m peeraid_jax.main --config=configs/svhn.py

CIFAR-10's hyperparameters, without mirroring: digits have no mirror image.
"""

from peeraid_jax import config as config_lib


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer."""
  config = config_lib.base(**config_lib.standard_choices(argument))
  config.data.name = 'svhn'
  config.data.flip = False
  config_lib.set_decays(config, epochs=300, decays=(214, 259, 284))
  return config
