"""A browser for the tests that need one: Chromium or Chrome, or that at `CHROMIUM`. Without one they are skipped.

Tests and the processes they start compute in one thread, so that two workers on two processors do not wait for each other."""

import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

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


def axe_findings(page, context=None, **options) -> list[str]:
    "What axe-core finds on the page, or on a part of it, that is serious or critical, with the first places."
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for violation in Axe().run(page, context, {"resultTypes": ["violations"], **options}).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            places = [node["html"][:200] for node in violation["nodes"][:3]]
            found.append(f"{violation['id']}, {len(violation['nodes'])} times, as in {places}")
    return found
