"""What `nbdev_docs` makes for those who have Quarto: its site, and nothing else that is not ignored by git."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from conftest import Page

from minibatch_mlp import _modidx

pytestmark = [
    pytest.mark.xdist_group("quarto"),  # the site is built once
    pytest.mark.skipif(not shutil.which("quarto"), reason="there is no Quarto here: `quarto` is not on the PATH"),
]

root = Path(__file__).parent.parent


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "A repository with what is here, after `nbdev_docs`."
    folder = tmp_path_factory.mktemp("quarto") / "minibatch_mlp"
    for name in git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").rstrip("\0").split("\0"):
        if (root / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "before")
    os.utime(folder / "README.md", (0, 0))  # older than any notebook, as it may be in a fresh clone
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", "from nbdev.quarto import nbdev_docs; nbdev_docs()"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(project):
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in (project / "_docs").glob("*.html")}


def test_no_file_but_the_site(project, pages):
    assert git(project, "status", "--short") == ""  # nor is README.md another
    assert len(pages) == len(list((root / "nbs").glob("*.ipynb")))


def test_no_link_in_a_link(pages):
    raw = [(name, found) for name, page in pages.items() for found in re.findall(r".{40}\]\(https?:.{40}", page.text)]
    assert not raw, raw


def test_links(project, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            if re.match(r"\w+:", link):  # another site
                continue
            target, fragment = map(unquote, urldefrag(link))
            target = target.removeprefix("./") or name
            if not (project / "_docs" / target).exists():
                broken.append(f"{name}: {link}")
            elif fragment and target in pages and fragment not in pages[target].ids:
                broken.append(f"{name}: {link} (no such place)")
    assert not broken, broken


def test_anchors(pages):
    "Each definition has the place that `_modidx` promises; a method is shown at its class, to which a script leads."
    lacking, found = [], 0
    for module, names in _modidx.d["syms"].items():
        for full, (address, _) in names.items():
            if re.search(r"\._", full.removeprefix(module).replace("__init__", "init")):
                continue
            page, anchor = urldefrag(address)
            found += 1
            if anchor.split(".")[0] not in pages[page].ids:
                lacking.append(address)
    assert found > 100 and not lacking, lacking


def test_in_the_browser(project, browser):
    problems = []
    folder = (project / "_docs").as_uri()
    for width in (1280, 390):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.route("http*://**", lambda route: route.abort())  # MathJax comes from outside
        for path in sorted((project / "_docs").glob("*.html")):
            page.goto(path.as_uri(), wait_until="load")
            if page.evaluate("document.documentElement.scrollWidth") > width:
                problems.append(f"{path.name} scrolls sideways at {width}")
            if page.locator("details.code-fold:has(summary:text('Solution')) ~ .cell-output:visible").count():
                problems.append(f"{path.name} shows what a solution prints")
        page.goto(f"{folder}/learner.html#learner.validate")
        page.wait_for_url("**/learner.html#learner")
        page.close()
    assert not problems, problems
