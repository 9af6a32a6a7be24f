"""What is run: name -> (config, overrides). No logic.

`python -m experiments.run NAME [NAME ...]` runs them, resumes those that were
cut off, and files each result under `experiments/results/NAME.json`.
"""

# A newcomer's run, three seeds per method.
DIGITS = {
  f'digits_{method}_seed{seed}': (
    f'configs/digits.py:method={method}',
    {'seed': seed},
  )
  for method in ('peeraid', 'pgd_at', 'natural')
  for seed in (0, 1, 2)
}

# CPU-sized: 5,000 images, base width 16, the paper's decays scaled from 300
# epochs to 30, selection on 500 held-out images.
_NARROW = {
  'model.width': 16,
  'data.train_examples': 5000,
  'data.validation_examples': 500,
  'train.epochs': 30,
  'optimizer.student.decay_epochs': (21, 26, 28),
  'swa.start_epoch': 21,
  'eval.select_on': 'validation',
  'eval.every_epochs': 3,
  'eval.examples': 1000,
}

CIFAR10_NARROW = {
  'cifar10_narrow_peeraid': (
    'configs/cifar10.py',
    {**_NARROW, 'optimizer.peer.decay_epochs': (21, 26, 28)},
  ),
  **{
    f'cifar10_narrow_{method}': (f'configs/cifar10.py:method={method}', _NARROW)
    for method in ('natural', 'pgd_at', 'trades')
  },
}

# The flagship command on real TinyImageNet, as small as it gets.
TINYIMAGENET_NARROW = {
  'tinyimagenet_narrow_peeraid': (
    'configs/tinyimagenet.py',
    {
      'model.width': 8,
      'data.train_examples': 4000,
      'data.validation_examples': 200,
      'train.epochs': 3,
      'train.batch_size': 40,
      'optimizer.student.learning_rate': 0.05,
      'optimizer.peer.learning_rate': 0.05,
      'optimizer.student.decay_epochs': (2,),
      'optimizer.peer.decay_epochs': (2,),
      'swa.start_epoch': 2,
      'eval.select_on': 'validation',
      'eval.examples': 1000,
    },
  ),
}

RUNS = {**DIGITS, **CIFAR10_NARROW, **TINYIMAGENET_NARROW}
"""Every run of this project."""
