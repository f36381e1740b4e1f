"""Pages as they are read, and a browser for the tests that need one.

It is Chromium or Chrome, or that at `CHROMIUM`. Without one these tests are skipped.

Tests and the processes they start compute in one thread, so that two workers on two processors do not wait for each other."""

import os
import shutil
from html.parser import HTMLParser
from urllib.parse import urldefrag

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import pytest


class Page(HTMLParser):
    "The links, the ids, the pictures and the text of a page."

    def __init__(self, html: str):
        super().__init__()
        self.links, self.ids, self.pictures, self.words, self.silent = [], [], [], [], 0
        self.feed(html)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if attrs.get("id") else []
        self.links += [attrs[key] for key in ("href", "src") if attrs.get(key) and tag not in ("link", "use")]
        self.silent += tag in ("script", "style")
        if tag == "img":
            self.pictures.append(attrs)

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.silent:
            self.words.append(data)


def pytest_collection_modifyitems(items):
    "The pages in the browser last: the site is built then, so that no worker waits for it, and none of them takes long."
    items.sort(key=lambda item: item.originalname == "test_pages_in_the_browser")


def chromium() -> str | None:
    "The path of the browser, if there is one."
    names = "chromium", "chromium-browser", "google-chrome"
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser():
    if not (path := chromium()):
        pytest.skip("there is no Chromium here: install Debian's `chromium`, or name its path in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


def open_from_disk(browser, path, fragment="", blobs=False, **settings):
    "A page that must have no error and ask nobody for anything, but for `blobs` of its own; `page.trouble` has what is amiss."
    page = browser.new_page(**settings)
    page.trouble = []
    page.on("console", lambda message: page.trouble.append(message.text))
    page.on("pageerror", lambda error: page.trouble.append(str(error)))

    def note(request):
        own = urldefrag(request.url).url == path.as_uri() or blobs and request.url.startswith("blob:")
        if not own:
            page.trouble.append(request.url)

    page.on("request", note)
    page.goto(path.as_uri() + fragment)
    return page


def axe_findings(page, context=None, **options) -> list[str]:
    "What axe-core finds on the page, or on a part of it, that is serious or critical, with the first places."
    from axe_playwright_python.sync_playwright import Axe

    # Colours that fade would be looked at half way.
    page.wait_for_function("document.getAnimations().every(({ playState }) => playState !== 'running')")
    found = []
    for violation in Axe().run(page, context, {"resultTypes": ["violations"], **options}).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            places = [node["html"][:200] for node in violation["nodes"][:3]]
            found.append(f"{violation['id']}, {len(violation['nodes'])} times, as in {places}")
    return found
