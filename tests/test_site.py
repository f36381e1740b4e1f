"""The site as a reader's browser sees it. `docs/build` makes it, and a server on 127.0.0.1 shows it as GitHub Pages would.

`UPDATE_LINKS=1 pytest tests/test_site.py -k external` writes tests/external_links.txt anew: look at what changed.
"""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zlib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest
from conftest import axe_findings

root = Path(__file__).parent.parent
notebooks = sorted((root / "nbs").glob("*.ipynb"))
prefix = "/minibatch_mlp/"
link_list = root / "tests" / "external_links.txt"
kinds = {
    "source": r"https://github\.com/minibatch-mlp/minibatch_mlp/blob/main/[\w/.]+",
    "colab": r"https://colab\.research\.google\.com/github/minibatch-mlp/minibatch_mlp/blob/main/nbs/\d\d_\w+\.ipynb",
    "pytorch": r"https://pytorch\.org/docs/stable/[\w/.#-]+",
    "numpy": r"https://numpy\.org/doc/stable/[\w/.#-]+",
    "python": r"https://docs\.python\.org/3/[\w/.#-]+",
    "fastcore": r"https://fastcore\.fast\.ai/[\w/.#-]+",
    "site": r"https://minibatch-mlp\.github\.io/minibatch_mlp/[\w/.-]*",
    "tools": r"https://(www\.sphinx-doc\.org/|pradyunsg\.me|github\.com/pradyunsg/furo)",
    "reading": r"https://[\w.-]+/[\w/.,:%#()=&?-]*",
}


class Page(HTMLParser):
    "The links, the ids, the pictures and the text of a page."

    def __init__(self, html: str):
        super().__init__()
        self.links, self.ids, self.pictures, self.words, self.silent = [], set(), [], [], 0
        self.feed(html)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        self.links += [attrs[key] for key in ("href", "src") if attrs.get(key) and tag not in ("link", "use")]
        self.silent += tag in ("script", "style")
        if tag == "img":
            self.pictures.append(attrs)

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.silent:
            self.words.append(data)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / prefix.strip("/")
    folder.mkdir()
    for name in ("gone.html", "99_gone.ipynb", "mine.txt"):
        (folder / name).write_text("from before")
    heads = ("Sphinx inventory version 2", "Project: x", "Version: 1", "The remainder is compressed using zlib.")
    pages_before = zlib.compress(b"gone std:doc -1 gone.html Gone\n")
    (folder / "objects.inv").write_bytes("".join(f"# {line}\n" for line in heads).encode() + pages_before)
    done = subprocess.run([sys.executable, root / "docs" / "build", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site):
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}


@pytest.fixture(scope="session")
def address(site):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): ...

        def send_error(self, code, message=None, explain=None):  # as GitHub Pages does
            body = (site / "404.html").read_bytes()
            self.send_response(code)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{prefix}"
    server.shutdown()


@pytest.fixture
def open_page(browser, address):
    "A function that opens a page of the site, notes what goes wrong, and returns page and notes."
    contexts = []

    def opened(name, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page, troubles = context.new_page(), []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: None if r.url.startswith((address, "data:")) else troubles.append(f"outside: {r.url}"))
        page.goto(urljoin(address, name), wait_until="networkidle")
        return page, troubles

    yield opened
    for context in contexts:
        context.close()


def page_of(notebook: Path) -> str:
    return re.sub(r"^\d+_", "", notebook.stem) + ".html"


def test_pages_whose_notebook_is_gone_are_swept_away(site):
    assert not (site / "gone.html").exists() and not (site / "99_gone.ipynb").exists()
    (site / "mine.txt").unlink()  # nothing else is


def test_internal_links(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            target, fragment = urldefrag(urljoin(f"http://site{prefix}{name}", link))
            if urlsplit(target).netloc != "site":
                continue
            path = site.parent / unquote(urlsplit(target).path).lstrip("/")
            path = path / "index.html" if path.is_dir() else path
            if not path.exists():
                broken.append(f"{name}: {link}")
            elif fragment and path.suffix == ".html" and unquote(fragment) not in pages[path.name].ids:
                broken.append(f"{name}: {link} (no such place)")
    assert not broken, "\n".join(broken)


def test_external_links(pages):
    found = set()
    for page in pages.values():
        for link in page.links:
            if urlsplit(link).netloc:
                kind = next((kind for kind, pattern in kinds.items() if re.fullmatch(pattern, link.partition("#L")[0])), None)
                assert kind, f"looks wrong: {link}"
                found.add(f"{kind} {link.partition('#L')[0]}")
    listed = "\n".join(sorted(found)) + "\n"
    if os.environ.get("UPDATE_LINKS"):
        link_list.write_text(listed, encoding="utf-8")
    assert listed == link_list.read_text(encoding="utf-8")


def test_source_links_lead_to_the_definition(pages):
    links = {link for page in pages.values() for link in page.links if "/blob/main/" in link and "#L" in link}
    assert len(links) > 20
    for link in links:
        path, _, line = link.partition("/blob/main/")[2].partition("#L")
        assert re.match(r"\s*(def|class|@)", (root / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]), link


@pytest.mark.parametrize("notebook", notebooks, ids=lambda path: path.stem)
def test_page_shows_what_the_notebook_shows(pages, notebook):
    def plain(text):
        return "".join(unescape(text).split())

    text = plain(pages[page_of(notebook)].text)
    headings = code = outputs = hidden = 0
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^#+ (.*)", cell.source, re.M):
                headings += 1
                assert plain(re.sub(r"[`*]", "", heading)).replace("'", "’") in text.replace("'", "’"), heading
            continue
        source = plain("\n".join(line for line in cell.source.split("\n") if not line.startswith("#|")))
        if re.search(r"^#\| (hide$|export$|exporti|default_exp|include: false)", cell.source, re.M):
            hidden += 1
            assert len(source) < 40 or source not in text, cell.source
            continue
        if not re.search(r"^#\| echo: false", cell.source, re.M):
            code += 1
            assert source in text, cell.source
        for output in cell.outputs:
            shown = output.get("text") or ("" if "image/png" in output.get("data", {}) else output.data.get("text/plain", ""))
            if "text/markdown" not in output.get("data", {}) and "text/html" not in output.get("data", {}):
                outputs += 1
                assert plain(shown) in text, shown
    assert headings and code and outputs and hidden


def test_every_picture_has_a_text_alternative(pages):
    pictures = [picture for page in pages.values() for picture in page.pictures if "_images/" in picture["src"]]
    assert len(pictures) > 5
    for picture in pictures:
        assert len(picture.get("alt", "")) > 20 and ".png" not in picture["alt"], picture


def test_nbdev_can_process_the_notebooks_for_quarto():
    code = (
        "import warnings; warnings.simplefilter('error', UserWarning)\n"
        "from nbdev.process import NBProcessor; from nbdev.processors import FilterDefaults\n"
        f"for path in {[str(path) for path in notebooks]}: NBProcessor(path, procs=FilterDefaults().procs()).process()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def in_docs(code: str) -> list:
    "Run Python code that has `pages`, the module that makes the pages, and appends to `results`, which are returned."
    code = f"import json, sys; sys.path.insert(0, 'docs'); import pages; results = []\n{code}\nprint(json.dumps(results))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


refused = [
    ("code", "#| ekho: false\n1", "ekho"),
    ("code", "#| fig-cap: x\nplot()", "text alternative"),
    ("code", "#| fig-alt: ''\nplot()", "text alternative"),
    ("markdown", "See ![](x.png)", "text alternative"),
    ("markdown", "<img src='x.png'>", "text alternative"),
    ("markdown", "> [!NOTE]\n> This is GitHub's.", "read everywhere"),
    ("markdown", "::: {.callout-note}\nThis is Quarto's.\n:::", "read everywhere"),
    ("markdown", "```{note}\nThis is MyST's.\n```", "read everywhere"),
]


def test_the_build_refuses(tmp_path):
    for i, (kind, source, _) in enumerate(refused):
        cell = nbformat.v4.new_code_cell(source) if kind == "code" else nbformat.v4.new_markdown_cell(source)
        if "plot" in source:
            cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{i}.ipynb")
    messages = in_docs(
        f"for i in range({len(refused)}):\n"
        f"    try: results.append(len(pages.page(pages.Path({str(tmp_path)!r}, f'{{i}}.ipynb'))))\n"
        f"    except pages.ConfigError as error: results.append(str(error))"
    )
    for i, ((_, source, expected), message) in enumerate(zip(refused, messages, strict=True)):
        assert expected in str(message) and f"{i}.ipynb" in message, source


def test_the_build_refuses_dead_links(tmp_path):
    for name in ("docs", "nbs", "settings.ini"):
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, tmp_path / name)
    (tmp_path / "minibatch_mlp").symlink_to(root / "minibatch_mlp")
    notebook = nbformat.read(tmp_path / "nbs" / "01_loss.ipynb", 4)
    dead = "[a](05_nowhere.ipynb) [b](02_training.ipynb#nowhere-there) [c](#nowhere-here) [d](nowhere.html)"
    notebook.cells.append(nbformat.v4.new_markdown_cell(dead))
    nbformat.write(notebook, tmp_path / "nbs" / "01_loss.ipynb")
    command = [sys.executable, tmp_path / "docs" / "build", tmp_path / "site"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    for name in ("nowhere.ipynb", "nowhere-there", "nowhere-here", "nowhere.html"):
        assert f"not found: '{name}'" in done.stderr or f"'{name}' [myst" in done.stderr, (name, done.stderr)


def test_a_page_made_again_is_the_same():  # or a change to one notebook would build all pages, and `--serve` never rest
    assert all(in_docs("results = [pages.page(path) == pages.page(path) for path in pages.notebooks()]"))


names = [
    ("`cross_entropy`", "{py:obj}`cross_entropy <minibatch_mlp.loss.cross_entropy>`"),
    ("`MLP(784, 10)`", "{py:obj}`MLP(784, 10) <minibatch_mlp.module.MLP>`"),
    ("`nn.Linear`", "[`nn.Linear`](https://pytorch.org/docs/stable/generated/torch.nn.Linear.html#torch.nn.Linear)"),
    ("`torch.load(f)`", "[`torch.load(f)`](https://pytorch.org/docs/stable/generated/torch.load.html#torch.load)"),
    ("`np.load`", "[`np.load`](https://numpy.org/doc/stable/reference/generated/numpy.load.html#numpy.load)"),
    ("`pickle.loads`", "[`pickle.loads`](https://docs.python.org/3/library/pickle.html#pickle.loads)"),
    ("`pickle.PickleError`", "[`pickle.PickleError`](https://docs.python.org/3/library/pickle.html#pickle.PickleError)"),
    ("`OSError`", "[`OSError`](https://docs.python.org/3/library/exceptions.html#OSError)"),
    *[(name, name) for name in ("`x`", "`_mean_picked`", "`x.y`", "``nll``", "`nll, mean`")],
]


def test_names_in_backticks():
    written = [name for name, _ in names]
    assert dict(zip(written, in_docs(f"results = [pages.linked(name) for name in {written!r}]"), strict=True)) == dict(names)


def test_no_page_shows_an_address_of_memory(pages):
    assert not [name for name, page in pages.items() if re.search(r" at 0x[0-9a-f]{6}", page.text)]


def test_inventory(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        names = InventoryFile.load(file, "", "/".join)
    assert "minibatch_mlp.loss.cross_entropy" in names["py:function"] and "minibatch_mlp.module.Module" in names["py:class"]
    assert "minibatch_mlp.module.Module.state_dict" in names["py:method"]


def test_pages_in_the_browser(open_page, pages):
    problems = []
    all_but_colours = {"rules": {"color-contrast": {"enabled": False}}}  # these take most of the time, by far
    for name in pages:
        page, troubles = open_page(name)
        problems += [f"{name}: {finding}" for finding in axe_findings(page, **all_but_colours)]
        code = None if name == "learner.html" else {"exclude": [["pre"]]}  # the longest page has all colours of code
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            problems += [f"{name} in {scheme}: {finding}" for finding in axe_findings(page, code, runOnly=["color-contrast"])]
        page.set_viewport_size({"width": 390, "height": 844})
        problems += [f"{name} on a phone: {finding}" for finding in axe_findings(page, **all_but_colours)]
        problems += [f"{name}: {trouble}" for trouble in troubles]
        page.context.close()
    assert not problems, "\n".join(problems)


def test_no_page_scrolls_sideways(open_page, pages):
    for name in pages:
        page, _ = open_page(name, viewport={"width": 390, "height": 844}, has_touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        wide = page.evaluate("""[...document.querySelectorAll('article *')].filter(e => e.scrollWidth > e.clientWidth + 1 &&
            ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => e.tagName + '.' + e.className)""")
        assert all(re.match(r"PRE|DIV\.(highlight|table-wrapper|math)|MJX|SPAN\.math", found) for found in wide), (name, wide)
        for width in (1440, 1550, 1584):  # where the column of a wide screen begins and ends
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
        page.context.close()


searches = [
    ("logsumexp", "loss.html"),
    ("learning rate", "training.html"),
    ("load_mnist", "data.html"),  # a name from the reference
    ("mostly_sure", "loss.html"),  # in a folded solution
    ("Mistakes that go unnoticed", "loss.html"),  # a heading
]


@pytest.mark.parametrize("words, found", searches)
def test_search(open_page, words, found):
    page, troubles = open_page(f"search.html?q={words}")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert any(found in link.get_attribute("href") for link in page.locator("#search-results li a").all())
    assert not troubles


def test_what_the_search_finds_in_a_fold_is_shown(open_page):
    page, _ = open_page("search.html?q=mostly_sure")
    page.locator("#search-results li a").first.click()
    page.wait_for_selector("details.fold[open] .highlighted", timeout=10_000)


def test_a_missing_page_at_any_depth(open_page):
    page, troubles = open_page("no/such/page.html")
    assert "does not exist" in page.inner_text("h1")
    assert [t for t in troubles if "no/such/page" not in t and "404" not in t] == []
    page.click("article a:has-text('front page')")
    assert page.inner_text("h1").startswith("minibatch_mlp")


def test_a_fold_opens_with_the_keyboard(open_page):
    page, _ = open_page("loss.html")
    fold = page.locator("details.fold").first
    shown = fold.locator("pre")  # the solution and its result
    assert shown.count() == 2 and not any(pre.is_visible() for pre in shown.all())
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert all(pre.is_visible() for pre in shown.all())


def test_copied_code_has_no_prompt(open_page):
    page, _ = open_page("index.html", permissions=["clipboard-read", "clipboard-write"])
    assert page.locator(".highlight-sh .copybtn").count() > 0
    page.locator(".highlight-sh").first.hover()
    page.locator(".highlight-sh .copybtn").first.click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("pip install")
