"""PeerAiD on TinyImageNet, as its authors ran it.

python -m peeraid_jax.main --config=configs/tinyimagenet.py
python -m peeraid_jax.main \
  --config=configs/tinyimagenet.py:student=wideresnet34x10,peer=wideresnet34x10

Expected, by the paper's poster: ResNet-18 clean 55.19, AutoAttack 21.67;
WideResNet-34-10 clean 58.07, AutoAttack 24.82. We have not run it at full
scale.

Time, computed and not measured: the stem has stride 1 at 64x64 pixels, so an
image costs four times as much as in configs/cifar10.py; 100,000 images in
each of 200 epochs (ResNet-18) or 100 (WideResNet-34-10).

The images: put tiny-imagenet-200.zip into --config.data.dir, or name it with
--config.data.source=FILE. 'test' is the official validation set, on which the
best checkpoint is chosen too, as the authors did.
"""

from peeraid_jax import config as config_lib
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  config = config_lib.base(**recipes.choices(argument))
  config.data.name = 'tinyimagenet'
  config.eval.select_on = 'test'
  if config.model.student == 'wideresnet34x10':
    config_lib.set_decays(config, epochs=100, decays=(49, 79))
  else:
    config_lib.set_decays(config, epochs=200, decays=(99, 149))
  recipes.apply_data(config, 'tinyimagenet')
  return config
