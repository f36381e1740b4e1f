"""Write README.md and its pictures from nbs/index.ipynb and its stored outputs: `python docs/readme.py`.

nbdev's own `nbdev_readme` needs Quarto, which pip cannot install. nbdev's processors and nbconvert's Markdown exporter do
the work here; what is left is to name the text alternatives, and to point links to where GitHub shows notebooks.
"""

import re
from pathlib import Path
from shutil import rmtree

import nbformat
from execnb.nbio import nb2str
from nbconvert import MarkdownExporter
from nbdev.process import NBProcessor
from nbdev.processors import hide_, rm_export
from pages import config, option, root, without_directives
from traitlets.config import Config

pictures = Path("docs/readme_files")
site = config.doc_host + config.doc_baseurl


def readme(index: Path) -> tuple[str, dict[str, bytes]]:
    "The text of the README, and its pictures by file name."
    notebook = NBProcessor(index, procs=[hide_, rm_export], process=True).nb
    alts = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.source = without_directives(cell.source)
        if option(cell, "echo") == "false":
            cell.metadata["tags"] = ["remove_input"]
        for output in cell.outputs:
            if "<script>" in "".join(output.get("data", {}).get("text/html", "")):  # GitHub runs none
                link = f"[On the site]({site}/#draw-a-digit)"
                output.data = {"text/markdown": f"{link} one draws here, and the network answers.\n"}
            if "image/png" in output.get("data", {}):
                alts.append(option(cell, "fig-alt"))

    exported = Config(TagRemovePreprocessor={"enabled": True, "remove_input_tags": {"remove_input"}})
    cleaned = nbformat.reads(nb2str(notebook), as_version=4)
    cleaned.metadata["language_info"] = {"name": "python"}
    text, resources = MarkdownExporter(config=exported).from_notebook_node(cleaned)
    names = iter(alts)
    text = re.sub(r"!\[[^]]*\]\((output_[^)]+)\)", lambda m: f"![{next(names)}]({pictures / m[1]})", text)
    text = re.sub(r"\]\((\d\d_\w+\.ipynb)", r"](nbs/\1", text)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return f"{text}\n\n<!-- Made from nbs/index.ipynb by docs/readme.py: edit the notebook. -->\n", resources["outputs"]


def main():
    text, files = readme(root / "nbs" / "index.ipynb")
    rmtree(root / pictures, ignore_errors=True)
    (root / pictures).mkdir()
    for name, data in files.items():
        (root / pictures / name).write_bytes(data)
    (root / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
