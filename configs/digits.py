"""PeerAiD on handwritten digits: the embedded default.

python -m peeraid_jax.main --config=configs/digits.py
python -m peeraid_jax.main --config=configs/digits.py:method=pgd_at

Real images that ship inside scikit-learn (1,797 of 8x8 pixels), a ResNet-18
of width 16, minutes on two CPU cores. No paper uses this setting.
"""

from peeraid_jax import config as config_lib


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer."""
  config = config_lib.base(**config_lib.standard_choices(argument))
  config.data.name = 'digits'
  config.data.validation_examples = 200
  # A shift of one pixel is much at 8x8, and digits have no mirror image.
  config.data.padding = 1
  config.data.flip = False
  config.model.width = 16
  config.attack.epsilon = 0.1
  config.attack.step_size = 0.025
  config.train.batch_size = 64
  config_lib.set_decays(config, epochs=30, decays=(21, 26, 28))
  return config
