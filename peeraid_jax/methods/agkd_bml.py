"""AGKD-BML: attention of a clean teacher, bi-directional metric learning.

Reference:
  Wang et al., AGKD-BML: Defense Against Adversarial Attack by Attention
  Guided Knowledge Distillation and Bi-directional Metric Learning, 2021, as
  the authors' code runs it. Its images are in [-1, 1]: here they are in
  [0, 1], with the same radius, and the network maps them
  (config.model.normalization='half').
"""

import jax
import jax.numpy as jnp

from peeraid_jax import losses
from peeraid_jax.methods import base

STATISTICS = ('joint', 'separate')

FACTS = base.Facts(
  teachers={'teacher': 'natural'},
  student='wideresnet28x10',
  defaults={**base.UNIFORM_START, 'teacher.initialise_student': True},
  recipe=base.Recipe(
    200,
    (100, 150),
    {
      'model.normalization': 'half',
      # The authors' teacher, by the name of its file: label smoothing 0.5,
      # decays at 100 and 150, the last checkpoint.
      'teacher.train_overrides': (
        'method.kwargs.label_smoothing=0.5',
        'train.epochs=200',
        'optimizer.student.decay_epochs=(100, 150)',
        'swa.enabled=False',
      ),
      'teacher.checkpoint': 'latest',
      # The authors keep the checkpoint of the best clean accuracy.
      'eval.select_attack': 'clean',
      **base.NO_AVERAGE,
    },
  ),
)


def _forward(student, images, statistics):
  """Passes groups of images in train mode; returns (outputs, student)."""
  if statistics == 'joint':
    # One batch: one set of statistics, one update of the running ones.
    output, student = student.train(jnp.concatenate(images))
    split = lambda array: jnp.split(array, len(images))
    groups = zip(*(split(array) for array in output), strict=True)
    return [type(output)(*group) for group in groups], student
  outputs, students = zip(*(student.train(x) for x in images), strict=True)
  # With one group per GPU, only the first GPU's running statistics survive:
  # those of the forward adversarial images.
  return outputs, students[0]


def agkd_bml(
  maximise: base.Maximise,
  *,
  agkd: bool = True,
  bml: bool = True,
  mart: bool = True,
  label_smoothing: float = 0.5,
  beta: float = 6.0,
  attention_weight: float = 1.0,
  metric_weight: float = 2.0,
  norm_weight: float = 0.001,
  margin: float = 0.03,
  statistics: str = 'joint',
) -> base.Method:
  """Returns AGKD-BML.

  With x a clean image of class y, y' its most confusing class, x2 a training
  image of class y', a the forward adversarial image (x towards y'), b the
  backward one (x2 towards y), z logits, A attention maps, h embeddings, and G
  the naturally trained teacher, the student's loss is

    LS-CE(z_a, y) + [MART: runner-up(z_a, y) + beta KL(x, a, y)]
      + attention_weight [AGKD: |A(a) - A_G(x)| + |A(b) - A_G(x2)|]
      + metric_weight [BML: triplet(h_a, h_x, h_b) + norm_weight |h|^2]

  MART's own cross-entropy is left out, as in the authors' code: LS-CE stands
  in its place. The student starts as a copy of the teacher
  (config.teacher.initialise_student).

  Args:
    maximise: the inner maximisation; the authors start it uniformly in the
      ball, with 10 steps; 7 (config.attack.steps) is their AGKD-BML-7.
    agkd: attention-guided distillation.
    bml: bi-directional metric learning: the backward attack, its attention
      term and the triplet loss.
    mart: MART's two terms; the authors' command cannot switch them off.
    label_smoothing: label smoothing of LS-CE, in [0, 1].
    beta: weight of MART's divergence.
    attention_weight, metric_weight, norm_weight: weights of the other terms.
    margin: margin of the triplet loss.
    statistics: 'joint' batch statistics over all three groups of images (one
      GPU), or 'separate' ones for each (about what eight GPUs do with the
      authors' DataParallel).

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(label_smoothing=label_smoothing)
  base.check_weights(
    beta=beta,
    attention_weight=attention_weight,
    metric_weight=metric_weight,
    norm_weight=norm_weight,
    margin=margin,
  )
  base.check_choice('statistics', statistics, STATISTICS)

  def craft(nets, batch, keys):
    logits_fn = lambda x: nets['student'].eval(x).logits

    def towards(images, labels, keys):
      # Targeted: the cross-entropy with the wanted class falls.
      objective = lambda x: -losses.cross_entropy(logits_fn(x), labels)
      return maximise(objective, images, keys)

    forward_key, draw_key, backward_key = jax.vmap(
      lambda k: jax.random.split(k, 3), out_axes=1
    )(keys)
    confusing = losses.most_confusing(logits_fn(batch.images), batch.labels)
    adv = {'images': towards(batch.images, confusing, forward_key)}
    if bml:
      other = batch.pool.draw(confusing, draw_key)
      adv['other'] = other
      adv['other_adv'] = towards(other, batch.labels, backward_key)
    return adv

  def attention_loss(student_features, teacher, images):
    target = losses.attention_map(teacher.eval(images).features)
    attention = losses.attention_map(student_features)
    return jnp.mean(jnp.abs(attention - jax.lax.stop_gradient(target)))

  def loss(nets, batch, adv):
    images = [adv['images'], batch.images]
    if bml:
      images.append(adv['other_adv'])
    outputs, student = _forward(nets['student'], images, statistics)
    forward, clean = outputs[:2]
    a, c, labels = forward.logits, clean.logits, batch.labels
    terms = {
      'student/loss_smoothed_ce': losses.smoothed_cross_entropy(
        a, labels, smoothing=label_smoothing
      ).mean()
    }
    if mart:
      terms['student/loss_runner_up'] = losses.runner_up(a, labels).mean()
      divergence = losses.misclassification_kl(c, a, labels).mean()
      terms['student/loss_kl_clean'] = beta * divergence
    if agkd:
      pairs = [(forward, batch.images)]
      if bml:
        pairs.append((outputs[2], adv['other']))
      terms['student/loss_attention'] = attention_weight * sum(
        attention_loss(output.features, nets['teacher'], x)
        for output, x in pairs
      )
    if bml:
      # Anchor: the forward adversarial image; positive: its clean image;
      # negative: the backward adversarial image.
      embeddings = [output.embedding for output in outputs]
      hinge = losses.triplet(*embeddings, margin=margin).mean()
      norms = sum(jnp.mean(jnp.square(h)) for h in embeddings)
      terms['student/loss_triplet'] = metric_weight * hinge
      terms['student/loss_norm'] = metric_weight * norm_weight * norms
    logits = {'student/adv': a, 'student/clean': c}
    return base.joint(terms, {**nets, 'student': student}, labels, logits)

  return base.Method(
    ('student',),
    ('teacher',),
    craft,
    loss,
    draws_by_class=bml,
    needs_features=agkd,
  )
