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
        if not is_code:
            return part
        text = re.sub(r"<[^>]*>", "", html)
        indent = len(text) - len(text.lstrip(" "))
        style = f' style="--indent: {indent}"' if indent else ""
        return 1, f'<span class="line"{style}>{html}</span>'


def setup(app):
    PygmentsBridge.html_formatter = LineFormatter
    return {"parallel_read_safe": True}
