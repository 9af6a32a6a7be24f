"""PeerAiD on handwritten digits: the embedded default.

python -m peeraid_jax.main --config=configs/digits.py
python -m peeraid_jax.main --config=configs/digits.py:method=pgd_at

Real images that ship inside scikit-learn (1,797 of 8x8 pixels), a ResNet-18
of width 16, minutes on two CPU cores. No paper uses this setting.
"""

from peeraid_jax import config as config_lib
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  # A ResNet ends in a single pixel here, and attention needs a map.
  students = {'agkd_bml': 'wideresnet28x10'}
  chosen = recipes.choices(argument, students=students, teachers={})
  config = config_lib.base(**chosen)
  config.data.name = 'digits'
  config.data.validation_examples = 200
  # A shift of one pixel is much at 8x8, and digits have no mirror image.
  config.data.padding = 1
  config.data.flip = False
  config.model.width = 16
  if config.model.student.startswith('wideresnet'):
    config.model.width = 8
  config.attack.epsilon = 0.1
  config.attack.step_size = 0.025
  config.train.batch_size = 64
  config_lib.set_decays(config, epochs=30, decays=(21, 26, 28))
  recipes.scale_starts(config)
  return config
