"""The report in a browser: headless Chromium (Debian's package)."""

import json
import re
import shutil
import subprocess

import pytest
from absl.testing import absltest, parameterized

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
    _, path = report_test.two_runs(cls.folder)
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
