"""Each line of code as an element that knows its indentation, so that a long line wraps to a place of its own (site.css).

A line is not broken behind its indentation, which would leave an empty row, nor in the middle of `->` or `--out`.
"""

import re

from pygments.formatters import HtmlFormatter
from sphinx.highlighting import PygmentsBridge


class LineFormatter(HtmlFormatter):
    def wrap(self, source):
        return super().wrap(map(self.as_element, source))

    @staticmethod
    def as_element(part: tuple[int, str]) -> tuple[int, str]:
        is_code, html = part
        line = html.rstrip("\n")
        end = html[len(line) :]  # stays outside: it is what is copied
        if not is_code or not line:
            return part
        text = re.sub(r"<[^>]*>", "", line)
        indent = len(text) - len(text.lstrip(" "))
        style = f' style="--indent: {indent}"' if indent else ""
        line = re.sub(r"^((?:<[^>]*>)*)( +)", r'\1<span class="joined">\2</span>', line)
        line = re.sub(r"-(?=\S)", '<span class="joined">-</span>', line)
        return 1, f'<span class="line"{style}>{line}</span>{end}'


def setup(app):
    PygmentsBridge.html_formatter = LineFormatter
    return {"parallel_read_safe": True}
