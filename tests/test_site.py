"""The site as a reader's browser sees it. `docs/build` makes it, and a server on 127.0.0.1 shows it as GitHub Pages would.

`UPDATE_LINKS=1 pytest tests/test_site.py -k external` writes tests/external_links.txt anew: look at what changed.
"""

import functools
import gzip
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
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest
from conftest import Page, axe_findings
from filelock import FileLock

pytestmark = pytest.mark.xdist_group("site")  # its pages are read once

root = Path(__file__).parent.parent
notebooks = sorted((root / "nbs").glob("*.ipynb"))


def page_of(notebook: Path) -> str:
    return re.sub(r"^\d+_", "", notebook.stem) + ".html"


page_names = [*map(page_of, notebooks), "404.html", "genindex.html", "py-modindex.html", "reference.html", "search.html"]
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


def test_workers_keep_to_their_groups(request):
    "pytest 9.2 has no `_nodeid`, by which pytest-xdist 3.8 groups: each worker would read the whole site."
    assert "PYTEST_XDIST_WORKER" not in os.environ or request.node.nodeid.endswith("@site")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    "The folder with the site. The first worker that needs it builds it, and others wait."
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "site" / prefix.strip("/")
    with FileLock(shared / "site.lock"):
        if not (shared / "site is built").exists():
            build(folder)
            (shared / "site is built").touch()
    return folder


def build(folder):
    folder.mkdir(parents=True)
    for name in ("gone.html", "99_gone.ipynb", "mine.txt"):
        (folder / name).write_text("from before")
    heads = ("Sphinx inventory version 2", "Project: x", "Version: 1", "The remainder is compressed using zlib.")
    pages_before = zlib.compress(b"gone std:doc -1 gone.html Gone\n")
    (folder / "objects.inv").write_bytes("".join(f"# {line}\n" for line in heads).encode() + pages_before)
    done = subprocess.run([sys.executable, root / "docs" / "build", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
        inside = address, "data:", "blob:"
        page.on("request", lambda r: None if r.url.startswith(inside) else troubles.append(f"outside: {r.url}"))
        page.goto(urljoin(address, name), wait_until="networkidle")
        return page, troubles

    yield opened
    for context in contexts:
        context.close()


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
        if re.search(r"^#\| (hide$|default_exp|include: false)", cell.source, re.M):
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


processed = """
import json, sys, warnings
warnings.simplefilter("error", UserWarning)
from nbdev.process import NBProcessor; from nbdev.processors import FilterDefaults
texts = []
for path in sys.argv[1:]:
    processor = NBProcessor(path, procs=FilterDefaults().procs())
    processor.process()
    for cell in processor.nb.cells:
        texts += [cell.source] if cell.cell_type == "markdown" else []
        texts += ["".join(output.data.get("text/markdown", "")) for output in cell.get("outputs", []) if "data" in output]
print(json.dumps(texts))"""


def test_nbdev_can_process_the_notebooks_for_quarto():
    "And makes no link of a name in backticks where one cannot be: in a link's text, and in a docment, which is code."
    command = [sys.executable, "-c", processed, *map(str, notebooks)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts = "\n\n".join(json.loads(done.stdout.splitlines()[-1]))
    assert texts.count("](https://") > 100
    assert not re.findall(r"\[[^][]*\[`[^`]*`\]\([^)]*\)[^][]*\]\(.*", texts)
    blocks = re.findall(r"^```.*?^```", texts, re.M | re.S)
    assert len(blocks) > 50
    assert not [block for block in blocks if "](https://" in block]


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


asked = """
import json, sys
sys.path.insert(0, "docs")
import pages

def tried(path):
    try: return len(pages.page(path))
    except pages.ConfigError as error: return str(error)

folder, names, functions = json.loads(sys.argv[1])
print(json.dumps({
    "refused": [tried(path) for path in sorted(pages.Path(folder).glob("*.ipynb"))],
    "links": [pages.linked(name) for name in names],
    "signatures": [pages.signature(getattr(pages.public, name)) for name in functions],
    "same": [pages.page(path) == pages.page(path) for path in pages.notebooks()],
}))"""


@pytest.fixture(scope="session")
def answers(tmp_path_factory):
    "What the module that makes the pages says, all asked of one process: to import it takes seconds."
    folder = tmp_path_factory.mktemp("refused")
    for i, (kind, source, _) in enumerate(refused):
        cell = nbformat.v4.new_code_cell(source) if kind == "code" else nbformat.v4.new_markdown_cell(source)
        if "plot" in source:
            cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / f"{i}.ipynb")
    question = json.dumps([str(folder), [name for name, _ in names], list(signatures)])
    done = subprocess.run([sys.executable, "-c", asked, question], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_build_refuses(answers):
    for i, ((_, source, expected), message) in enumerate(zip(refused, answers["refused"], strict=True)):
        assert expected in str(message) and f"{i}.ipynb" in message, source


def test_the_build_refuses_dead_links(tmp_path):
    for name in ("docs", "nbs", "settings.ini"):
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, tmp_path / name)
    (tmp_path / "minibatch_mlp").symlink_to(root / "minibatch_mlp")
    for path in (tmp_path / "nbs").glob("[0-9]*.ipynb"):  # a few pages are soon built
        if path.stem not in ("01_loss", "02_training"):
            path.unlink()
    notebook = nbformat.read(tmp_path / "nbs" / "01_loss.ipynb", 4)
    dead = "[a](05_nowhere.ipynb) [b](02_training.ipynb#nowhere-there) [c](#nowhere-here) [d](nowhere.html)"
    notebook.cells.append(nbformat.v4.new_markdown_cell(dead))
    nbformat.write(notebook, tmp_path / "nbs" / "01_loss.ipynb")
    command = [sys.executable, tmp_path / "docs" / "build", tmp_path / "site"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    for name in ("nowhere.ipynb", "nowhere-there", "nowhere-here", "nowhere.html"):
        assert f"not found: '{name}'" in done.stderr or f"'{name}' [myst" in done.stderr, (name, done.stderr)


def test_a_page_made_again_is_the_same(answers):  # or a change to one notebook would build all pages, and `--serve` never rest
    assert len(answers["same"]) == len(notebooks) and all(answers["same"])


names = [
    ("`cross_entropy`", "{py:obj}`cross_entropy <minibatch_mlp.loss.cross_entropy>`"),
    ("`MLP(784, 10)`", "{py:obj}`MLP(784, 10) <minibatch_mlp.module.MLP>`"),
    ("`nn.Linear`", "[`nn.Linear`](https://pytorch.org/docs/stable/generated/torch.nn.Linear.html#torch.nn.Linear)"),
    ("`torch.load(f)`", "[`torch.load(f)`](https://pytorch.org/docs/stable/generated/torch.load.html#torch.load)"),
    ("`np.load`", "[`np.load`](https://numpy.org/doc/stable/reference/generated/numpy.load.html#numpy.load)"),
    ("`pickle.loads`", "[`pickle.loads`](https://docs.python.org/3/library/pickle.html#pickle.loads)"),
    ("`pickle.PickleError`", "[`pickle.PickleError`](https://docs.python.org/3/library/pickle.html#pickle.PickleError)"),
    ("`OSError`", "[`OSError`](https://docs.python.org/3/library/exceptions.html#OSError)"),
    ("PyTorch's `DataLoader`", "PyTorch's [`DataLoader`](https://pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader)"),
    ("PyTorch’s `load_state_dict`", "PyTorch’s `load_state_dict`"),  # many classes have one
    *[(name, name) for name in ("`x`", "`_mean_picked`", "`x.y`", "``nll``", "`nll, mean`")],
]


signatures = {"step_lr": "=1 / 3", "SGD": "lr=0.1", "fit": "loss_func=cross_entropy"}


def test_names_in_backticks(answers):
    assert dict(zip(dict(names), answers["links"], strict=True)) == dict(names)


def test_defaults_as_written(answers):
    for name, signature in zip(signatures, answers["signatures"], strict=True):
        assert signatures[name] in signature, signature


def test_no_page_shows_an_address_of_memory(pages):
    assert not [name for name, page in pages.items() if re.search(r" at 0x[0-9a-f]{6}", page.text)]


def test_inventory(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        names = InventoryFile.load(file, "", "/".join)
    assert "minibatch_mlp.loss.cross_entropy" in names["py:function"] and "minibatch_mlp.module.Module" in names["py:class"]
    assert "minibatch_mlp.module.Module.state_dict" in names["py:method"]


def test_anchors(pages):  # `_modidx` tells them to other nbdev projects
    from minibatch_mlp import _modidx

    promised = []
    for module, names in _modidx.d["syms"].items():
        for full, (address, _) in names.items():
            if not re.search(r"\._", full.removeprefix(module).replace("__init__", "init")):
                promised.append(address)
    assert {"training.html#fit", "learner.html#learner", "dataloader.html#dataloader.state_dict"} <= set(promised)
    lacking = [address for address in promised if urldefrag(address)[1] not in pages[urldefrag(address)[0]].ids]
    assert not lacking, lacking


def test_no_id_is_given_twice(pages):
    twice = [(name, id) for name, page in pages.items() for id in set(page.ids) if page.ids.count(id) > 1]
    assert not twice, twice


def test_heads_of_the_pages(site, pages):
    for name in pages:
        head = (site / name).read_text(encoding="utf-8").partition("</head>")[0]
        assert '<html class="no-js" lang="en-GB"' in head and "favicon.svg" in head and "<title>" in head, name
        if name in map(page_of, notebooks):
            assert 'name="description"' in head and 'property="og:description"' in head, name


@pytest.mark.parametrize("notebook", notebooks, ids=lambda path: path.stem)
def test_chapters_have_the_numbers_of_their_notebooks(site, notebook):
    html = (site / page_of(notebook)).read_text(encoding="utf-8")
    number = notebook.stem.partition("_")[0]
    title = re.search(r"<h1>(.*?)<", html)[1]
    assert re.match(rf"{int(number)}\. [A-Z]", title) if number.isdigit() else title == "minibatch_mlp"
    sidebar = html.partition('class="sidebar-tree"')[2].partition("</ul>")[0]
    shown = re.findall(r">(\d+)\. ", sidebar)
    assert shown == [str(int(path.stem[:2])) for path in notebooks if path.stem != "index"]
    links = re.findall(r'class="(next|prev)-page" href="(\w+)\.html', html)
    assert {kind for kind, _ in links} == ({"next"} if number == "index" else {"next", "prev"})


# What is wrong with the layout: a page that scrolls sideways, code that does, an empty row behind an indentation, a full stop
# that begins a row, a line of up to 96 letters in two rows.
layout = """width => {
    const problems = [];
    if (document.documentElement.scrollWidth > width) problems.push("the page scrolls sideways");
    for (const e of document.querySelectorAll("article *")) {
        const scrolls = e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
        const may = e.matches(".output pre, .output .highlight, .math, mjx-container");
        if (scrolls && !may) problems.push(`scrolls: ${e.tagName}.${e.className} ${e.textContent.slice(0, 80)}`);
    }
    for (const line of document.querySelectorAll("article .line[style]")) {
        const indentation = line.querySelector(".joined"), rest = document.createRange();
        rest.setStartAfter(indentation);
        rest.setEndAfter(line.lastChild);
        const isBelow = rest.getClientRects()[0]?.top > indentation.getBoundingClientRect().bottom;
        if (isBelow) problems.push(`empty row: ${line.textContent}`);
    }
    for (const formula of document.querySelectorAll("article span.math"))
        if (/^[.,;:!?)]/.test(formula.nextSibling?.textContent)) problems.push(`may break: ${formula.textContent}`);
    if (width < 1280) return problems;
    for (const line of document.querySelectorAll("article .line")) {
        const rows = line.getBoundingClientRect().height / parseFloat(getComputedStyle(line).lineHeight);
        if (rows > 1.5 && !line.closest(".output") && line.textContent.trimEnd().length <= 96)
            problems.push(`wraps: ${line.textContent}`);
    }
    return problems;
}"""
plain_code = "document.querySelectorAll('pre').forEach(pre => pre.textContent = pre.textContent)"


def test_no_page_is_forgotten(pages):
    assert sorted(pages) == sorted(page_names)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in page_names])
def test_pages_in_the_browser(open_page, name):
    problems = []
    all_but_colours = {"rules": {"color-contrast": {"enabled": False}}}
    page, troubles = open_page(name, has_touch=True)
    for width in (1280, 1366, 1440, 1552, 1920, 390):  # laptops, where furo's letters become larger, a phone
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("innerWidth === lastWidth")  # the tables have been fitted
        problems += [f"at {width}: {problem}" for problem in page.evaluate(layout, width)]
    page.evaluate(plain_code)  # its colours are tested below: axe would look at each of many thousand words
    problems += [f"on a phone: {finding}" for finding in axe_findings(page, **all_but_colours)]
    page.set_viewport_size({"width": 1280, "height": 900})
    problems += axe_findings(page)
    page.emulate_media(color_scheme="dark")
    problems += [f"in dark: {finding}" for finding in axe_findings(page, runOnly=["color-contrast"])]
    assert not problems + troubles, "\n".join(problems + troubles)


def test_colours_of_code(open_page, site):
    "A page with a word of every class that the code of any page has, on both grounds."
    html = "".join(path.read_text(encoding="utf-8") for path in site.glob("*.html"))
    classes = set(re.findall(r'<span class="([a-z]{1,2}\d?)">', html)) - {"w"}  # white space has no colour
    assert {"k", "n", "s1", "c1", "mi", "kn"} <= classes
    words = " ".join(f'<span class="{name}">word</span>' for name in sorted(classes))
    block = f'<div class="highlight"><pre>{words}</pre></div>'
    cell = f'<div class="cell"><div class="cell_input">{block}</div>'
    cell += f'<div class="cell_output"><div class="output">{block}</div></div></div>'
    page, _ = open_page("404.html")
    page.evaluate("html => document.querySelector('article').innerHTML = html", cell)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not axe_findings(page, "article", runOnly=["color-contrast"])
        colour = "name => getComputedStyle(document.querySelector(`.cell_input .${name}`)).color"
        colours = [page.evaluate(colour, name) for name in ("k", "c1", "s1", "n")]
        assert len(set(colours)) == 4, f"keywords, comments, strings and names look the same in {scheme}: {colours}"


def test_no_column_of_a_table_is_lost_on_a_phone(open_page, pages):
    for name, column in (("loss.html", "labels"), ("optim.html", None)):
        page, _ = open_page(name, viewport={"width": 390, "height": 844}, has_touch=True)
        cells = page.locator(".table-wrapper td").all()
        boxes = [cell.bounding_box() for cell in cells]
        assert boxes and all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
        if column:  # each cell of a table of three columns is named
            assert page.locator(f"table.stacked td[data-column='{column}']").count() > 2


def test_print(open_page, tmp_path):
    page, _ = open_page("loss.html", viewport={"width": 1280, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 665, "height": 900})  # what A4 leaves between the margins
    for name in ("skip-to-content", "sidebar-drawer", "toc-drawer", "mobile-header", "copybtn", "fold", "ways"):
        parts = page.locator(f".{name}").all()
        assert parts and not any(part.is_visible() for part in parts), name
    for block in page.locator("pre:visible, table").all():
        assert block.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), block.inner_text()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    pages_of_paper = len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True, format="A4")))
    height = page.evaluate("document.querySelector('article').scrollHeight")
    assert height / 985 <= pages_of_paper <= 1.3 * height / 985  # not many half-empty pages


searches = {  # words, and where one of the first three results must lead
    "learning rate": "training.html#what-the-learning-rate-does",
    "learning rates": "training.html#what-the-learning-rate-does",
    "batch size": "training.html#what-the-batch-size-does",
    "logsumexp": "loss.html#logsumexp",
    "resume": "checkpoint.html",
    "overfitting": "callbacks.html",
    "normalize": "module.html",
    "early stopping": "callbacks.html#minibatch_mlp.callbacks.EarlyStopping",
    "momentum": "optim.html#momentum",
    "draw": "draw.html#draw-a-digit",
    "checkpoint": "checkpoint.html",
    "optimizer": "optim.html",
    "load_mnist": "data.html#minibatch_mlp.data.load_mnist",
    "mostly_sure": "loss.html#fold-solution-1",  # in a folded solution
    "Mistakes that go unnoticed": "loss.html#mistakes-that-go-unnoticed",
}


def test_search(open_page, address):
    page, troubles = open_page("search.html")
    for words, expected in searches.items():
        page.goto(urljoin(address, f"search.html?q={words}"))
        page.wait_for_selector(".found a")
        page.wait_for_load_state("networkidle")  # each result is fetched, and leaving before would count as a failure
        found = [urljoin(address, link.get_attribute("href")) for link in page.locator(".found a").all()[:3]]
        assert any(re.sub(r"\?[^#]*", "", link).startswith(urljoin(address, expected)) for link in found), (words, found)
    page.goto(urljoin(address, "search.html?q=жжж"))
    page.wait_for_selector("text=No results for жжж")
    assert not troubles


def test_every_entry_of_the_search_leads_somewhere_and_has_no_formula(site, pages):
    entries = []
    for path in (site / "pagefind" / "fragment").iterdir():
        entries.append(json.loads(gzip.decompress(path.read_bytes()).removeprefix(b"pagefind_dcd")))
    texts = "".join(entry["content"] for entry in entries)
    formulas = re.findall(r"\\\(.+?\\\)", " ".join(page.text for page in pages.values()))
    assert len(formulas) > 50 and not [formula for formula in formulas if formula in texts]
    for entry in entries:
        name, anchor = urldefrag(entry["url"])
        assert not anchor or anchor in pages[name].ids, entry["url"]
    assert {page_of(notebook) for notebook in notebooks} == {urldefrag(entry["url"])[0] for entry in entries}


def test_the_search_with_the_keyboard_and_to_a_fold(open_page):
    page, troubles = open_page("data.html", viewport={"width": 1440, "height": 900})
    page.locator(".sidebar-search").focus()
    page.keyboard.type("mostly_sure")
    page.keyboard.press("Enter")
    page.wait_for_selector(".found a")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not axe_findings(page)
    page.wait_for_load_state("networkidle")
    page.locator("pagefind-input input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("details.fold[open] .highlighted")
    assert page.locator("details.fold[open]").count() == 1  # other solutions stay closed
    assert not troubles


def test_a_missing_page_at_any_depth(open_page):
    page, troubles = open_page("no/such/page.html")
    assert "does not exist" in page.inner_text("h1")
    assert [t for t in troubles if "no/such/page" not in t and "404" not in t] == []
    page.click("article a:has-text('front page')")
    assert page.inner_text("h1").startswith("minibatch_mlp")


def test_a_fold_opens_with_the_keyboard(open_page):
    page, _ = open_page("loss.html")
    fold = page.locator("details.fold").filter(has_text="Solution 1")
    shown = fold.locator("pre")  # the solution and its result
    assert shown.count() == 2 and not any(pre.is_visible() for pre in shown.all())
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert all(pre.is_visible() for pre in shown.all())


def test_copied_code_is_as_written(open_page):
    settings = {"permissions": ["clipboard-read", "clipboard-write"], "viewport": {"width": 390, "height": 844}}
    page, _ = open_page("index.html", **settings)
    assert page.locator(".highlight-sh .copybtn").count() > 0
    page.locator(".highlight-sh").first.hover()
    page.locator(".highlight-sh .copybtn").first.click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("git clone")  # no prompt
    page, _ = open_page("loss.html", **settings)
    code = page.locator(".cell_input pre:visible").filter(has_text="class Model")
    written = code.text_content()
    assert code.bounding_box()["height"] > 20 * (written.count("\n") + 2)  # lines are wrapped on this screen
    code.evaluate("pre => getSelection().selectAllChildren(pre)")
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()").rstrip() == written.rstrip()
