"""PeerAiD, LTD and the baselines on ImageNet-1k: our setting.

python -m peeraid_jax.main --config=configs/imagenet.py
python -m peeraid_jax.main --config=configs/imagenet.py:method=ltd

PeerAiD's authors did not use ImageNet. LTD's report one number (abstract, v3:
42.08 under AutoAttack at 4/255) and no setting. So budget and attack are
those of Salman et al., Do Adversarially Robust ImageNet Models Transfer
Better?, 2020: a ResNet-50, 4/255, three steps of 2/3 of it, SGD at 0.1 per
256 images, divided by 10 every 30 epochs; and PeerAiD's weights those of its
TinyImageNet. We have not run it.

Time, computed and not measured: 8.2 GFLOP per image and pass, 1,281,167 images
in each of 90 epochs, 3 attack steps.

The images: ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in
--config.data.dir (or below it in downloads/manual), prepared once; or a copy
that TFDS prepared as array_record. 'test' is the official validation set; the
best checkpoint is chosen on 10,000 training images. AGKD-BML draws images by
class on the device; here it is AGKD alone.
"""

from peeraid_jax import config as config_lib
from peeraid_jax import methods
from peeraid_jax.config import recipes


def get_config(argument: str | None = None):
  """Returns the config; choices: method, student, peer, teacher."""
  students = dict.fromkeys(methods.METHODS, 'resnet50_imagenet')
  chosen = recipes.choices(argument, students=students, teachers={})
  config = config_lib.base(**chosen)
  data = config.data
  data.name = 'imagenet'
  data.image_size = 224
  data.stream = True
  data.crop = 'resized'
  data.padding = 0
  data.validation_examples = 10_000
  config.model.normalization = 'imagenet'
  config.attack.epsilon = 4 / 255
  config.attack.step_size = 8 / 3 / 255
  config.attack.steps = 3
  config.train.batch_size = 256
  config.train.checkpoint_every_steps = 1000
  config_lib.set_decays(config, epochs=90, decays=(30, 60))
  for optimizer in config.optimizer.values():
    optimizer.weight_decay = 1e-4
  config.eval.every_epochs = 10
  # As many as RobustBench takes of ImageNet.
  config.eval.examples = 5000
  if config.method.name == 'agkd_bml':
    # Images of another class are drawn on the device, where these are not.
    config.method.kwargs.bml = False
  # Our choice: many classes, so the weights of TinyImageNet.
  recipes.apply_data(config, 'tinyimagenet')
  recipes.scale_starts(config)
  return config
