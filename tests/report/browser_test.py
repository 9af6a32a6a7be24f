"""The report in a browser: headless Chromium (Debian's package)."""

import json
import re
import shutil
import subprocess

import pytest
from absl.testing import absltest, parameterized

from tests import helpers
from tests.report import sample_runs

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')

# Collects problems of the page's layout as JSON in its title.
_COLLECT_PROBLEMS = """<script>
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
    _, path = sample_runs.report_of_two(cls.folder)
    cls.page = path.with_name('instrumented.html')
    cls.page.write_text(path.read_text() + _COLLECT_PROBLEMS)

  def _open(self, *flags):
    """Opens the page; returns its problems and the browser's messages."""
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
    # Window of a desktop in light mode, and of a phone in dark mode.
    ('1300,900', 1),
    ('500,900', 0),
  )
  def test_page(self, size, scheme):
    problems, console = self._open(
      f'--window-size={size}',
      f'--blink-settings=preferredColorScheme={scheme}',
    )
    self.assertEmpty(console)
    self.assertGreater(problems['images'], 15)
    for problem in ('missing', 'narrow', 'broken'):
      self.assertEmpty(problems[problem])
    self.assertFalse(problems['wide'])
    dark = not scheme
    self.assertEqual(problems['dark'], problems['images'] if dark else 0)
    self.assertEqual(
      problems['paper'], 'rgb(13, 17, 23)' if dark else 'rgb(255, 255, 255)'
    )


if __name__ == '__main__':
  absltest.main()
