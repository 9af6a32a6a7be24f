"""PeerAiD on your own images: a folder with one sub-folder per class.

python -m peeraid_jax.main --config=configs/folder.py --config.data.dir=DIR
python -m peeraid_jax.main --config=configs/folder.py \
  --config.data.dir=DIR --config.data.image_size=128

DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val, validation), or
DIR/CLASS/*.jpg alone, of which a fifth is the test set. Images may have any
size: they are read as their batch comes, cropped at random and scaled to
`image_size`; for evaluation the middle is taken. Our setting: CIFAR-10's
hyperparameters with fewer epochs. AGKD-BML draws images by class: for it they
are cut to size once, and kept on the device.
"""

from peeraid_jax import config as config_lib
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  chosen = recipes.choices(argument, students={}, teachers={})
  config = config_lib.base(**chosen)
  data = config.data
  data.name = 'folder'
  data.image_size = 64
  if config.method.name != 'agkd_bml':
    data.stream = True
    data.crop = 'resized'
    data.crop_area = (0.25, 1.0)
    data.padding = 0
  config_lib.set_decays(config, epochs=100, decays=(70, 90))
  recipes.scale_starts(config)
  return config
