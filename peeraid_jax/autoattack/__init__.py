"""AutoAttack in JAX: `run` evaluates a network and returns a `Report`.

report = peeraid_jax.autoattack.run(logits_fn, images, labels)
print(report.robust_accuracy, report.flags)
"""

from peeraid_jax.autoattack.driver import Progress
from peeraid_jax.autoattack.run import MISCLASSIFIED, ROBUST, Report, run

__all__ = ['MISCLASSIFIED', 'ROBUST', 'Progress', 'Report', 'run']
