"""Folded code as plain `<details>`, closed or open, with the summary that the notebook gives it, and an anchor."""

from html import escape

from docutils.nodes import make_id
from myst_nb.sphinx_ import HideCodeCellNode


def visit(translator, node):
    summary = node["prompt_show"]
    folds = translator.__dict__.setdefault("folds", [])  # those of this page
    folds.append(make_id(summary))
    anchor = f"fold-{folds[-1]}" + (f"-{folds.count(folds[-1])}" if folds.count(folds[-1]) > 1 else "")
    is_open = " open" if node["prompt_hide"] == "show" else ""  # pages.py passes `#| code-fold` on in this place
    translator.body.append(f'<details class="fold" id="{anchor}"{is_open}><summary>{escape(summary)}</summary>')


def depart(translator, node):
    translator.body.append("</details>")


def setup(app):
    app.add_node(HideCodeCellNode, override=True, html=(visit, depart))
