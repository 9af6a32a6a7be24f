"""PeerAiD on CIFAR-10, as its authors ran it.

python -m peeraid_jax.main --config=configs/cifar10.py
python -m peeraid_jax.main \
  --config=configs/cifar10.py:student=wideresnet34x10,peer=wideresnet34x10

Expected, by the paper (Table 1, relayed by a third party): ResNet-18 clean
85.01, AutoAttack 52.57. By an independent reproduction (CGARD): clean 82.63,
PGD-20 54.21, AutoAttack 50.25. We have not run it at full scale.

Time, computed and not measured: 33 GFLOP per image for ResNet-18, 400 for
WideResNet-34-10, 50,000 images in each of 300 epochs.

The best checkpoint is chosen on the test set, as the authors did; with
--config.eval.select_on=validation it is not.
"""

from peeraid_jax import config as config_lib
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  config = config_lib.base(**recipes.choices(argument))
  config.data.name = 'cifar10'
  recipes.apply(config)
  return config
