"""The page to draw on, in a browser: JavaScript must do what Python does, and whatever draws must be able to draw.
And photographs, which must be read or refused."""

import base64
import re
import shlex
from hashlib import sha256
from inspect import signature
from pathlib import Path

import nbconvert
import numpy as np
import pictures
import pytest
import torch
from conftest import axe_findings, open_from_disk

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.cli import _train_parser, mlp_train
from minibatch_mlp.data import load_mnist
from minibatch_mlp.draw import DrawDigit, load_mlp, mnist_form, stroke_ink
from minibatch_mlp.module import MLP
from minibatch_mlp.training import train_epoch

root = Path(__file__).parent.parent
SIDE = 280  # of the paper, in pixels


def circle(x, y, rx, ry, first=0, last=360):
    "Points of an arc, in degrees, clockwise from the right, on paper with sides of 1."
    angles = np.radians(np.linspace(first, last, 24))
    return [(x + rx * c, y + ry * s) for c, s in zip(np.cos(angles), np.sin(angles))]


# Ten digits in one hand: lists of strokes, lists of points.
UPRIGHT = [
    [circle(0.5, 0.5, 0.2, 0.32, -90, 270)],
    [[(0.5, 0.15), (0.5, 0.85)]],
    [[*circle(0.5, 0.34, 0.19, 0.18, -170, 40), (0.3, 0.82), (0.72, 0.82)]],
    [[*circle(0.47, 0.33, 0.18, 0.16, -150, 90), *circle(0.47, 0.66, 0.21, 0.17, -90, 150)]],
    [[(0.36, 0.15), (0.28, 0.52), (0.7, 0.52)], [(0.64, 0.2), (0.6, 0.86)]],
    [[(0.7, 0.17), (0.38, 0.17), (0.35, 0.45), *circle(0.46, 0.63, 0.22, 0.2, -110, 140)]],
    [[(0.62, 0.14), (0.44, 0.35), (0.34, 0.6), *circle(0.49, 0.66, 0.16, 0.18, 180, -180)]],
    [[(0.28, 0.18), (0.7, 0.18), (0.45, 0.86)]],
    [[*circle(0.5, 0.33, 0.15, 0.16, 90, -270), *circle(0.5, 0.67, 0.18, 0.18, -90, 270)]],
    [[*circle(0.48, 0.34, 0.17, 0.17, 0, -360), (0.63, 0.5), (0.55, 0.86)]],
]


def hand(strokes, slant=0.0, size=1.0, place=(0.0, 0.0), wobble=0.0, seed=0):
    "The strokes slanted, shrunk, moved and shaken."
    noise = np.random.default_rng(seed)
    found = []
    for stroke in strokes:
        points = np.array(stroke, dtype=float) - 0.5
        points[:, 0] -= slant * points[:, 1]
        points += wobble * noise.standard_normal(points.shape)
        found.append((0.5 + size * points + place).clip(0.01, 0.99))
    return found


HANDS = {
    "upright and large": dict(),
    "slanted, small, in a corner": dict(slant=0.3, size=0.3, place=(0.3, -0.3)),
    "shaky, in the lower left": dict(slant=-0.05, size=0.55, place=(-0.2, 0.2), wobble=0.012),
}


# The grey levels of what the network sees, and of the middles of the same 28 by 28 fields on the paper.
SHADES = """element => {
    const seen = element.sees.getContext("2d").getImageData(0, 0, 28, 28).data;
    const side = element.paper.width, paper = element.paper.getContext("2d").getImageData(0, 0, side, side).data;
    const middle = i => Math.floor((i + 0.5) * side / 28);
    const levels = [[], []];
    for (let i = 0; i < 784; i++) {
        levels[0].push(seen[4 * i]);
        levels[1].push(paper[4 * (middle(Math.floor(i / 28)) * side + middle(i % 28))]);
    }
    return levels;
}"""


@pytest.fixture(scope="module")
def mnist():
    return load_mnist()


@pytest.fixture(scope="module")
def model():
    return load_mlp()[0]


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("draw") / "draw.html"
    DrawDigit(model).save(path)
    return path


def opened(browser, path, **settings):
    return open_from_disk(browser, path, viewport={"width": 800, "height": 800}, **settings)


@pytest.fixture
def page(browser, path):
    page = opened(browser, path)
    yield page
    page.close()
    assert not page.trouble


def draw(page, strokes, widget="draw-digit"):
    "Draw with the mouse, and return the strokes that the page has seen."
    box = page.locator(f"{widget} >> .paper").bounding_box()
    for stroke in strokes:
        for i, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if i == 0:
                page.mouse.down()
        page.mouse.up()
    return page.locator(widget).evaluate("e => e.strokes")


def status(page, widget="draw-digit"):
    return page.locator(f"{widget} >> [role=status]").text_content()


@pytest.mark.parametrize(("sizes", "n"), [((784, 10), 1000), ((784, 100, 10), 10000), ((784, 40, 30, 20, 10), 1000)])
def test_all_test_digits(browser, mnist, model, tmp_path, sizes, n):
    torch.manual_seed(2)
    network = model if sizes == model.sizes else MLP(*sizes)
    if network is not model:
        for _ in train_epoch(network, *mnist.train, bs=100, lr=0.2, gradients=by_hand):
            pass
    digits = mnist.test.x[:n]
    DrawDigit(network).save(tmp_path / "draw.html")
    page = opened(browser, tmp_path / "draw.html")
    levels = (digits * 256).to(torch.uint8)
    found = page.locator("draw-digit").evaluate(
        """(element, levels) => {
            const bytes = Uint8Array.from(atob(levels), letter => letter.charCodeAt(0)), found = [];
            for (let i = 0; i < bytes.length; i += 784) {
                const form = Float32Array.from(bytes.slice(i, i + 784), level => level / 256);
                found.push(element.constructor.probabilities(element.layers, form));
            }
            return found;
        }""",
        base64.b64encode(levels.numpy().tobytes()).decode(),
    )
    assert not page.trouble
    page.close()
    with torch.no_grad():
        expected = network(digits).softmax(dim=1)
    found = torch.tensor(found)
    assert found.shape == (n, 10)
    assert (found - expected).abs().max() < 1e-5
    assert (found.argmax(dim=1) == expected.argmax(dim=1)).all()


def test_thirty_drawn_digits(page, model):
    page.locator("draw-digit").evaluate(
        """element => {
            const show = element.show;
            element.times = [];
            element.show = (...all) => {
                const start = performance.now();
                show.apply(element, all);
                element.times.push(performance.now() - start);
            };
        }"""
    )
    wrong = []
    for name, settings in HANDS.items():
        for digit, strokes in enumerate(UPRIGHT):
            page.locator("draw-digit >> .clear").click()
            seen = draw(page, hand(strokes, **settings, seed=digit))
            assert len(seen) == len(strokes)
            found = page.locator("draw-digit").evaluate("e => Array.from(e.form)")
            form = mnist_form(stroke_ink(seen))
            assert (torch.tensor(found) - form).abs().max() <= 1 / 256, (name, digit)
            with torch.no_grad():
                answer = model(form[None]).argmax().item()
            assert status(page) == f"The network reads {answer}"
            if answer != digit:
                wrong.append((name, digit, answer))
    times = page.locator("draw-digit").evaluate("e => e.times")
    print(f"{30 - len(wrong)} of 30 drawn digits were read right; wrong: {wrong}")
    half, most = np.quantile(times, (0.5, 0.99))
    print(f"{len(times)} updates: median {half:.2f} ms, 99 in 100 within {most:.2f} ms, slowest {max(times):.2f} ms")
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize("strokes", [
    [[(0.5, 0.5)]],
    [[(0.1, 0.1), (0.9, 0.1)]],
    [[(0.1, 0.1), (0.1, 0.9)], [(0.5, 0.5)]],
    [[(0.2, 0.2), (0.2, 0.2), (0.21, 0.2)]],
    [np.random.default_rng(1).random((200, 2)).tolist()],
])  # fmt: skip
def test_the_same_form(page, strokes):
    script = "(e, strokes) => Array.from(e.constructor.mnistForm(e.constructor.strokeInk(strokes)))"
    found = page.locator("draw-digit").evaluate(script, strokes)
    assert (torch.tensor(found) - mnist_form(stroke_ink(strokes))).abs().max() < 1e-6


def test_an_update_is_fast(page):
    "An update costs less than 40 passes through the network, timed in turn: the page answers while one draws."
    eight = np.array(UPRIGHT[8][0])
    steps = np.linspace(0, len(eight) - 1, 200)  # as many points as a slow hand leaves
    strokes = [np.stack([np.interp(steps, range(len(eight)), axis) for axis in eight.T], axis=1).tolist()]
    times = page.locator("draw-digit").evaluate(
        """(element, strokes) => {
            const timed = run => {
                const start = performance.now();
                run();
                return performance.now() - start;
            };
            const pass = () => element.constructor.probabilities(element.layers, element.form);
            const passes = () => { for (let i = 0; i < 20; i++) pass(); };
            return Array.from({ length: 100 }, () => [timed(() => element.show(strokes)), timed(passes)]);
        }""",
        strokes,
    )
    update, passes = np.median(times[20:], axis=0)
    print(f"an update takes {update:.1f} ms, a pass through the network {passes / 20:.3f} ms")
    assert update < 40 * passes / 20


def test_undo_clear_and_examples(page, mnist):
    assert status(page) == "Nothing is drawn yet"
    assert not re.search(r"%", page.locator("draw-digit >> ul").inner_text())
    draw(page, UPRIGHT[4])
    page.locator("draw-digit >> .undo").click()
    assert page.locator("draw-digit").evaluate("e => e.strokes.length") == 1
    page.locator("draw-digit >> .undo").click()
    assert status(page) == "Nothing is drawn yet"
    page.locator("draw-digit >> .undo").click()  # nothing is left to undo
    examples = page.locator("draw-digit >> .examples button")
    assert examples.count() == 11
    for i in range(10):
        examples.nth(i).click()
        assert status(page) == f"The network reads {i}"
    shades = page.locator("draw-digit").evaluate(SHADES)
    assert np.abs(np.add(*shades) - 255).max() <= 1  # dark on light, where the network sees light on dark
    examples.nth(10).click()
    assert re.fullmatch(r"The network reads (\d), and its label is (?!\1)\d", status(page))
    draw(page, UPRIGHT[1])
    assert status(page) == "The network reads 1"
    page.locator("draw-digit >> .clear").click()
    assert status(page) == "Nothing is drawn yet"
    assert page.locator("draw-digit").evaluate("e => e.answer") is None


def test_the_network_in_the_package(mnist):
    network, metadata = load_mlp()
    with torch.no_grad():
        right = (network(mnist.test.x).argmax(dim=1) == mnist.test.y).sum().item()
    path = root / "minibatch_mlp" / "assets" / "mlp.safetensors"
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{right:,} of the 10,000 test digits" in card
    assert f"{path.stat().st_size:,} bytes" in card and sha256(path.read_bytes()).hexdigest() in card
    defaults = {name: parameter.default for name, parameter in signature(mlp_train).parameters.items()}
    command = shlex.split(re.search("`mlp_train (.*)`", card)[1])
    asked = vars(_train_parser().parse_args(command))
    different = {name for name in asked if asked[name] != defaults[name]}
    assert different == {"epochs", "schedule", "lr", "shift"}
    settings = {name: asked[name] for name in metadata["settings"]}
    assert metadata["settings"] == {**settings, "hidden": [*settings["hidden"]]}


@pytest.mark.parametrize("name", pictures.ROWS)
def test_photographs(model, name):
    n = 1 if name == "12 million pixels" else 3
    (right, wrong, refused, sure), failures = pictures.measure(model, name, n)
    assert sure == 0, failures
    if name in pictures.NO_DIGIT:
        assert refused == n, failures
    elif name != "cut out tightly":  # where there is too little paper to be sure of it
        assert right == n, failures


def test_touch(browser, path):
    page = opened(browser, path, has_touch=True)
    box = page.locator("draw-digit >> .paper").bounding_box()
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        places = [{"x": box["x"] + x * SIDE, "y": box["y"] + y * SIDE, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": places})

    seven = UPRIGHT[7][0]
    touch("Start", seven[0])
    for corner, following in zip(seven, seven[1:]):
        for t in np.linspace(0.1, 1, 10):
            touch("Move", tuple((1 - t) * a + t * b for a, b in zip(corner, following)))
    touch("Start", seven[-1], (0.1, 0.9))  # a second finger, which draws nothing
    touch("End")
    assert page.locator("draw-digit").evaluate("e => e.strokes.length") == 1
    assert status(page) == "The network reads 7"
    assert page.evaluate("scrollY") == 0
    assert not page.trouble
    page.close()


def test_keyboard(page):
    page.keyboard.press("Tab")
    assert page.locator("draw-digit").evaluate("e => e.shadowRoot.activeElement.className") == "paper"

    def press(*keys):
        for key, times in keys:
            for _ in range(times):
                page.keyboard.press(key)

    press(("ArrowLeft", 5), ("ArrowUp", 8), ("Space", 1), ("ArrowRight", 9), ("ArrowDown", 4))
    press(*[("ArrowDown", 2), ("ArrowLeft", 1)] * 5, ("Space", 1), ("ArrowLeft", 6))
    assert page.locator("draw-digit").evaluate("e => e.strokes.length") == 1
    assert status(page) == "The network reads 7"
    focused = "(f => f?.ariaLabel ?? f?.textContent)(document.querySelector('draw-digit').shadowRoot.activeElement)"
    reached = []
    for _ in range(13):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    assert reached[:3] == ["Undo", "Clear", "Test digit 0"] and len(set(reached)) >= 12
    page.keyboard.press("Enter")
    assert "label is" in status(page)


def test_two_on_a_page(browser, model, tmp_path):
    other = MLP(784, 10)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
        other[0].bias[3] = 1  # it answers 3 to everything
    page_text = "<!doctype html>" + DrawDigit(model)._repr_html_() + DrawDigit(other)._repr_html_()
    (tmp_path / "two.html").write_text(page_text)
    page = opened(browser, tmp_path / "two.html")
    first, second = "draw-digit >> nth=0", "draw-digit >> nth=1"
    draw(page, UPRIGHT[1], first)
    assert (status(page, first), status(page, second)) == ("The network reads 1", "Nothing is drawn yet")
    page.locator(second).scroll_into_view_if_needed()
    draw(page, UPRIGHT[1], second)
    assert (status(page, first), status(page, second)) == ("The network reads 1", "The network reads 3")
    assert not page.trouble
    page.close()


def test_a_saved_notebook(browser, tmp_path):
    "Without a kernel: the notebook as it is stored, made into a page by nbconvert."
    text, _ = nbconvert.HTMLExporter().from_filename(root / "nbs" / "13_draw.ipynb")
    (tmp_path / "saved.html").write_text(text, encoding="utf-8")
    page = browser.new_page()
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    page.goto((tmp_path / "saved.html").as_uri())
    page.locator("draw-digit").scroll_into_view_if_needed()
    draw(page, UPRIGHT[7])
    assert status(page) == "The network reads 7"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(browser, path, scheme):
    page = opened(browser, path, color_scheme=scheme)
    draw(page, UPRIGHT[2])
    assert not axe_findings(page)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
