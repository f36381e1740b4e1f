"""Make playground.webp, the picture of `Playground` that stands where no script runs: a run of 20 passes, in Chromium.

    python -m minibatch_mlp.assets.make_playground /usr/bin/chromium
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from minibatch_mlp.batch_size import Playground


def make(chromium: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "playground.html"
        Playground().save(path)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 780, "height": 1000}, device_scale_factor=1.25)
        page.goto(path.as_uri())
        element = page.locator("batch-playground")
        networks = "document.querySelector('batch-playground').networks"
        page.wait_for_function(f"{networks}?.every(network => network.checks.length)")
        element.locator(".run").click()
        page.wait_for_function(f"{networks}.every(network => network.rows > 80000)", timeout=0)
        element.locator(".run").click()
        page.wait_for_timeout(1500)  # the last report
        picture = Image.open(io.BytesIO(element.screenshot()))
        browser.close()
    picture.convert("RGB").save(target, quality=45, method=6)
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    make(sys.argv[1], Path(__file__).parent / "playground.webp")
