"""The report in a browser: headless Chromium (Debian's package)."""

import json
import re
import shutil
import subprocess
from unittest import mock

import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import report
from peeraid_jax.report import measure
from tests import helpers, report_test

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')

# What is wrong with a page as it is laid out, told in its title.
_LOOK = """<script>
addEventListener('load', () => {
  const images = [...document.images];
  document.title = JSON.stringify({
    images: images.length,
    missing: images.filter(i => !i.naturalWidth).map(i => i.alt),
    wide: document.documentElement.scrollWidth > innerWidth,
    narrow: images.filter(i => i.clientWidth < 250).map(i => i.alt),
    dark: images.filter(i => i.currentSrc !== i.src).length,
    broken: [...document.querySelectorAll('nav a')].filter(
      a => !document.getElementById(a.hash.slice(1))).map(a => a.hash),
    paper: getComputedStyle(document.body).backgroundColor,
  });
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason='there is no chromium')
class BrowserTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    for name in ('one', 'two'):
      (cls.folder / name).mkdir()
    first = report_test.workdir(cls.folder, 'one', **report_test.RESULTS)
    second = report_test.workdir(cls.folder, 'two', 'pgd_at')
    with (
      mock.patch.object(measure, 'STEPS', (0, 1, 20)),
      mock.patch.object(measure, 'FACTORS', (0.0, 1.0)),
    ):
      path = report.make(
        first, [second], output=cls.folder / 'out', examples=20, size=3
      )
    cls.page = path.with_name('looked_at.html')
    cls.page.write_text(path.read_text() + _LOOK)

  def _look(self, *flags):
    done = subprocess.run(
      [
        CHROMIUM,
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--virtual-time-budget=20000',
        '--enable-logging=stderr',
        f'--user-data-dir={helpers.folder(self)}',
        *flags,
        '--dump-dom',
        f'file://{self.page}',
      ],
      capture_output=True,
      text=True,
      check=False,
      timeout=240,
    )
    console = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    title = re.search(r'<title>(\{.*?\})</title>', done.stdout)
    self.assertIsNotNone(title, done.stderr)
    text = title[1].replace('&gt;', '>').replace('&amp;', '&')
    return json.loads(text), console

  @parameterized.parameters(
    # A desk and a phone; light and dark.
    ('1300,900', 1),
    ('500,900', 0),
  )
  def test_page(self, size, scheme):
    found, console = self._look(
      f'--window-size={size}',
      f'--blink-settings=preferredColorScheme={scheme}',
    )
    self.assertEmpty(console)
    self.assertGreater(found['images'], 15)
    for problem in ('missing', 'narrow', 'broken'):
      self.assertEmpty(found[problem])
    self.assertFalse(found['wide'])
    dark = not scheme
    self.assertEqual(found['dark'], found['images'] if dark else 0)
    self.assertEqual(
      found['paper'], 'rgb(13, 17, 23)' if dark else 'rgb(255, 255, 255)'
    )


if __name__ == '__main__':
  absltest.main()
