"""The anchors that `_modidx.py` promises to other nbdev projects: `fit` is at `training.html#fit`.

Sphinx names a definition by its full name. Here it gets the short anchor too, unless a heading has it. What has no definition
of its own on the page, such as the methods of a callback, is found at its class.
"""

from urllib.parse import urldefrag

from docutils.nodes import Element

from minibatch_mlp import _modidx


def promised(page: str) -> dict[str, str]:
    "The public names that the index places on a page, each with its anchor there."
    found = {}
    for module, names in _modidx.d["syms"].items():
        for full, (address, _) in names.items():
            place, anchor = urldefrag(address)
            parts = full.removeprefix(f"{module}.").replace("__init__", "init").split(".")
            if place == f"{page}.html" and not any(part.startswith("_") for part in parts):
                found[full] = anchor
    return found


def add(app, document):
    places = {name: node for node in document.findall(Element) for name in node["ids"]}
    for full, anchor in promised(app.env.docname).items():
        node = places.get(full) or places.get(full.rpartition(".")[0])
        if node is not None and anchor not in places:
            node["ids"].append(anchor)
            places[anchor] = node


def setup(app):
    app.connect("doctree-read", add)
    return {"parallel_read_safe": True}
