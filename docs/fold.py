"""Folded code as plain `<details>`, closed or open, with the summary that the notebook gives it."""

from html import escape

from myst_nb.sphinx_ import HideCodeCellNode


def visit(translator, node):
    is_open = " open" if node["prompt_hide"] == "show" else ""  # pages.py passes `#| code-fold` on in this place
    translator.body.append(f'<details class="fold"{is_open}><summary>{escape(node["prompt_show"])}</summary>')


def depart(translator, node):
    translator.body.append("</details>")


def setup(app):
    app.add_node(HideCodeCellNode, override=True, html=(visit, depart))
