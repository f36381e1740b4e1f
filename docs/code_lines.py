"""Each line of code as an element that knows its indentation, so that a long line wraps to a place of its own (site.css)."""

import re

from pygments.formatters import HtmlFormatter
from sphinx.highlighting import PygmentsBridge


class LineFormatter(HtmlFormatter):
    def wrap(self, source):
        return super().wrap(map(self.as_element, source))

    @staticmethod
    def as_element(part: tuple[int, str]) -> tuple[int, str]:
        is_code, html = part
        line = html.rstrip("\n")  # the end of the line stays outside: it is what is copied
        if not is_code or not line:
            return part
        text = re.sub(r"<[^>]*>", "", line)
        indent = len(text) - len(text.lstrip(" "))
        style = f' style="--indent: {indent}"' if indent else ""
        return 1, f'<span class="line"{style}>{line}</span>{html[len(line) :]}'


def setup(app):
    PygmentsBridge.html_formatter = LineFormatter
    return {"parallel_read_safe": True}
