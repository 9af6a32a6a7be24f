"""Writes the table of config fields into Markdown files, between markers.

python -m peeraid_jax.config docs/config.md
"""

import pathlib
import sys

from peeraid_jax.config import fields

_BEGIN, _END = '<!-- fields: begin -->', '<!-- fields: end -->'


def main(arguments: list[str]) -> None:
  """Writes the table into the named files; without one, prints it."""
  if not arguments:
    print(fields.as_markdown())
  for argument in arguments:
    path = pathlib.Path(argument)
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
      sys.exit(f'error: {path} should have the markers {_BEGIN} and {_END}')
    path.write_text(f'{before}{_BEGIN}\n{fields.as_markdown()}\n{_END}{after}')


if __name__ == '__main__':
  main(sys.argv[1:])
