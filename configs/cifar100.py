"""PeerAiD on CIFAR-100, as its authors ran it.

python -m peeraid_jax.main --config=configs/cifar100.py
python -m peeraid_jax.main \
  --config=configs/cifar100.py:student=wideresnet34x10,peer=wideresnet34x10

Expected, by an independent reproduction (CGARD) of ResNet-18: clean 56.76,
PGD-20 32.99, AutoAttack 27.97. We have not run it at full scale.

Time: that of configs/cifar10.py.

The best checkpoint is chosen on the test set, as the authors did; with
--config.eval.select_on=validation it is not.
"""

from peeraid_jax import config as config_lib
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  config = config_lib.base(**recipes.choices(argument))
  config.data.name = 'cifar100'
  recipes.apply(config)
  return config
