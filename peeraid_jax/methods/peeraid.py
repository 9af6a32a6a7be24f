"""PeerAiD: a peer trains beside the student and learns to defend it.

Reference:
  Jung, Jang, Song and Lee, PeerAiD: Improving Adversarial Distillation from
  a Specialized Peer Tutor, CVPR 2024. Where the paper's equations and the
  authors' code differ, this file follows the code and says so at the line.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base

ATTACK_TARGETS = ('peer', 'label')

FACTS = base.Facts(
  partners=('peer',),
  recipe=base.Recipe(300, (214, 259, 284)),
  fields_by_data={
    'cifar100': {'method.kwargs.gamma2': 1.0},
    # The KL terms are divided by the number of classes, which is 200 here:
    # hence larger weights.
    'tinyimagenet': {
      'method.kwargs.temperature': 1.0,
      'method.kwargs.gamma2': 100.0,
      'method.kwargs.lambda1': 0.035,
      'method.kwargs.lambda2': 35.0,
      'method.kwargs.lambda3': 20.0,
    },
  },
)


def peeraid(
  maximise: base.Maximise,
  *,
  gamma1: float = 1.0,
  gamma2: float = 0.1,
  lambda1: float = 0.0,
  lambda2: float = 1.0,
  lambda3: float = 1.0,
  temperature: float = 5.0,
  peer_temperature: float = 1.0,
  attack_target: str = 'peer',
  detach_student: bool = False,
  detach_clean: bool = False,
  freeze_peer: bool = False,
) -> base.Method:
  """Returns PeerAiD; the defaults are its CIFAR-10 settings.

  With p the peer's and s the student's logits on the adversarial images, n
  the student's on the clean ones, sg the stop-gradient, and KL divided by the
  number of classes:

    attack:  maximise KL(p(x) || s(x')) over x' in the ball around x
    peer:    gamma1 CE(p, y) + gamma2 tau^2 KL(s || p)
    student: lambda1 CE(s, y) + lambda2 T^2 KL(sg(p) || s)
             + lambda3 T^2 KL(n || s)

  Args:
    maximise: the inner maximisation, of the divergence between the peer's
      clean and the student's adversarial prediction.
    gamma1, gamma2: weights of the peer's terms.
    lambda1, lambda2, lambda3: weights of the student's terms.
    temperature: T of the student's terms.
    peer_temperature: tau of the peer's.
    attack_target: 'peer' attacks KL(peer(x) || student(x')), 'label' the
      cross-entropy (ablation).
    detach_student: stop the gradient of s in the peer's loss (ablation).
    detach_clean: stop the gradient of n (ablation).
    freeze_peer: keep the peer as it was loaded, in eval mode (ablation).

  Raises:
    ValueError: unknown attack target, a negative weight, or a temperature
      that is not positive.
  """
  base.check_choice('attack_target', attack_target, ATTACK_TARGETS)
  base.check_weights(
    gamma1=gamma1,
    gamma2=gamma2,
    lambda1=lambda1,
    lambda2=lambda2,
    lambda3=lambda3,
  )
  base.check_temperatures(
    temperature=temperature, peer_temperature=peer_temperature
  )

  def craft(nets, batch, keys):
    # Both networks in eval mode and at temperature 1, whatever T and tau.
    # The peer's clean prediction is computed once, before the attack's loop.
    target = nets['peer'].eval(batch.images).logits

    def objective(images):
      logits = nets['student'].eval(images).logits
      if attack_target == 'label':
        return losses.cross_entropy(logits, batch.labels)
      return losses.kl(target, logits)

    images = maximise(objective, batch.images, keys)
    return {'images': images, 'peer_clean_logits': target}

  def loss(nets, batch, adv):
    if freeze_peer:
      peer_output, peer = nets['peer'].eval(adv['images']), nets['peer']
    else:
      peer_output, peer = nets['peer'].train(adv['images'])
    # The authors pass the adversarial batch twice, once for each loss: equal
    # logits, two updates of the running statistics. Then the clean batch.
    robust_output, student = nets['student'].train(adv['images'], updates=2)
    clean_output, student = student.train(batch.images)
    p, s, n = peer_output.logits, robust_output.logits, clean_output.logits

    # s is not detached in the authors' code: the peer's loss also trains the
    # student. The paper's equations do not show it.
    s_for_peer = jax.lax.stop_gradient(s) if detach_student else s
    # n is not detached either: it carries the only gradient from clean images.
    n_target = jax.lax.stop_gradient(n) if detach_clean else n
    tau, t = peer_temperature, temperature
    terms = {
      'peer/loss_ce': gamma1 * losses.cross_entropy(p, batch.labels).mean(),
      'peer/loss_kl_student': gamma2
      * tau**2
      * losses.kl_mean(s_for_peer, p, temperature=tau).mean(),
      'student/loss_ce': lambda1 * losses.cross_entropy(s, batch.labels).mean(),
      'student/loss_kl_peer': lambda2
      * t**2
      * losses.kl_mean(jax.lax.stop_gradient(p), s, temperature=t).mean(),
      'student/loss_kl_clean': lambda3
      * t**2
      * losses.kl_mean(n_target, s, temperature=t).mean(),
    }
    return base.joint(
      terms,
      {**nets, 'student': student, 'peer': peer},
      batch.labels,
      {
        'student/adv': s,
        'student/clean': n,
        'peer/adv': p,
        'peer/clean': adv['peer_clean_logits'],
      },
    )

  if freeze_peer:
    return base.Method(('student',), ('peer',), craft, loss)
  return base.Method(('student', 'peer'), (), craft, loss)
