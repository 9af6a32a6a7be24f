"""Markdown pieces of the generated pages."""


def table(
  heads: list[str], rows: list[list[str]], *, first: str = '---'
) -> str:
  """Returns a table whose columns, except for the first, are aligned right.

  Args:
    heads: cells of the first line.
    rows: cells of the others.
    first: alignment of the first column; '---:' is right.
  """
  lines = [heads, [first, *['---:'] * (len(heads) - 1)], *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def machine(entry: dict) -> str:
  """Returns device and library versions of a result in one line."""
  versions = ', '.join(f'{n} {v}' for n, v in entry['versions'].items())
  return f'{entry["device"]}; {versions}'


def ratio(values: dict, digits: int = 2) -> str:
  """Returns 'median (min to max)' of a ratio."""
  median, low, high = (
    f'{values[name]:.{digits}f}' for name in ('median', 'min', 'max')
  )
  return f'{median} ({low} to {high})'
