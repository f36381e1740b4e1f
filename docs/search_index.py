"""The search: pagefind, with an entry for each section, each fold and each public name, in place of Sphinx's index of pages.

A result then leads to its section, and one in a fold to the fold, which site.js opens. Formulas are left out: pagefind reads
HTML, where they are LaTeX. It runs in the browser, on the files in `pagefind/`, and asks nobody else.
"""

import asyncio
import re
from functools import partial
from html import escape
from pathlib import Path
from shutil import rmtree
from unittest.mock import patch

import pages
from bs4 import BeautifulSoup
from pagefind.index import PagefindIndex

not_read = ".headerlink, .viewcode-link, .ways, .copybtn, script, style"
name_weight = "7"  # of a public name, as pagefind has it for a title
code_weight = "0.3"  # of a word in the code, against 1 in prose: it says less about what a section is about


def record(address: str, body: str, **about: str) -> dict:
    "What pagefind takes for one entry: a page of HTML, and the address that it stands for. `about` is what a result shows."
    attributes = " ".join(f'data-{key}="{escape(value)}"' for key, value in about.items())
    shown = ", ".join(f"{key}[data-{key}]" for key in about)
    main = f'<main data-pagefind-body {attributes} data-pagefind-meta="{shown}">{body}</main>'
    return {"url": address, "content": f'<!doctype html><html lang="en"><body>{main}</body></html>'}


def article_of(path: Path):
    "The text of a page. The colours of code are taken out first: they are most of what there is to parse."
    html = path.read_text(encoding="utf-8")
    html = re.sub("(?s)(<pre>)(.*?)(</pre>)", lambda match: match[1] + re.sub("<[^>]*>", "", match[2]) + match[3], html)
    article = BeautifulSoup(html, "html.parser").article
    for element in article.select(not_read):
        element.decompose()
    for formula in article.select(".math"):
        formula.replace_with("…")
    return article


def of_page(path: Path) -> list[dict]:
    "The sections of a page and its folds, each without those inside it."
    article = article_of(path)
    for code in article.select("pre"):
        code["data-pagefind-weight"] = code_weight
    page, found = article.h1.get_text(), []
    for fold in article.select("details.fold"):
        fold.extract()
        summary = fold.summary.extract().get_text()
        found.append(record(f"{path.name}#{fold['id']}", str(fold), name=summary, page=page, note="In the folded code."))
    for section in reversed(article.select("section")):  # the inner ones first
        section.extract()
        title = section.find(re.compile("^h[1-6]$"), recursive=False).extract().get_text()
        body = f"<h1>{escape(title)}</h1>{section.decode_contents()}"
        whole = title == page  # the top of the page
        address = path.name if whole else f"{path.name}#{section['id']}"
        found.append(record(address, body, title=title, page="" if whole else page))
    return found


def of_names(path: Path) -> list[dict]:
    "The public names, from the tables of the reference: each with its module and its sentence."
    found = []
    for row in article_of(path).select("tbody tr"):
        name, sentence = row.find_all("td")
        module = row.find_parent("section").h2.find(string=True)
        body = f'<p data-pagefind-weight="{name_weight}">{name.get_text()}</p>{sentence.decode_contents()}'
        found.append(record(name.a["href"], body, name=name.get_text(), page=module))
    return found


async def write(folder: Path) -> None:
    records = of_names(folder / "reference.html")
    for notebook in sorted(pages.notebooks()):
        records += of_page(folder / f"{pages.page_name(notebook)}.html")
    rmtree(folder / "pagefind", ignore_errors=True)
    settings = {"output_path": str(folder / "pagefind"), "include_characters": "_"}
    # pagefind's module pauses for a tenth of a second before it waits for an answer: with 400 entries, most of a build.
    with patch.object(asyncio, "sleep", partial(asyncio.sleep, 0)):
        async with PagefindIndex(config=settings) as index:
            for entry in records:
                added = await index.add_html_file(**entry)
                assert added["page_word_count"], entry


def no_index_of_sphinx(app):
    app.builder.search = False


def index(app, exception):
    if exception is None and app.builder.format == "html":
        asyncio.run(write(Path(app.outdir)))


def setup(app):
    app.connect("builder-inited", no_index_of_sphinx)
    app.connect("build-finished", index)
    return {"parallel_read_safe": True}
