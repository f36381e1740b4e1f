"""A browser for the tests that need one: Chromium or Chrome, or that at `CHROMIUM`. Without one they are skipped."""

import os
import shutil

import pytest


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
