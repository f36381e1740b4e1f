"""The playground in a browser: its arithmetic must be that of `by_hand`, and whoever plays must be able to play."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import axe_findings, open_from_disk
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.batch_size import _EXAMPLES, Playground, _levels
from minibatch_mlp.data import Split, load_mnist
from minibatch_mlp.module import MLP

E = "batch-playground"

# A network of the page's arithmetic, on the page's digits, with weights from Python.
NETWORK = """(element, { hidden, bs, lr, parameters, order }) => {
    const { Digits, Network } = element.constructor.arithmetic(), { digits, labels, count } = element;
    const train = new Digits(digits.subarray(0, 784 * count), labels.subarray(0, count));
    const network = new Network({ hidden, bs, lr, seed: 1 }, train, new Digits(digits.subarray(0, 784), labels.subarray(0, 1)));
    const [weight0, bias0, weight1, bias1] = parameters.map(text =>
        new Float64Array(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer));
    weight0.forEach((value, k) => { network.weight0[(k % 784) * hidden + Math.floor(k / 784)] = value; });
    [network.bias0, network.weight1, network.bias1].forEach((array, i) => array.set([bias0, weight1, bias1][i]));
    if (!order) return network.noiseScale();
    [network.order, network.place] = [Uint32Array.from(order), 0];
    const losses = Array.from({ length: 200 }, () => network.step());
    const trained = [network.firstWeight(hidden), network.bias0, network.weight1, network.bias1];
    return { losses, parameters: trained.map(parameter => [...parameter]) };
}"""


@pytest.fixture(scope="module")
def mnist():
    return load_mnist()


@pytest.fixture(scope="module")
def digits(mnist):
    "The training digits as the page has them."
    return torch.tensor(_levels(mnist.train.x[:4000])).double() * 17 / 256, mnist.train.y[:4000]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    Playground().save(path)
    return path


def opened(browser, path, hash="", **settings):
    page = open_from_disk(browser, path, hash, blobs=True, viewport={"width": 1280, "height": 900}, **settings)
    ready(page)
    return page


def ready(page):
    "Every network of every playground has been looked at once."
    page.wait_for_function(
        f"[...document.querySelectorAll('{E}')].every(e => e.networks?.every(network => network.checks.length))"
    )


@pytest.fixture(scope="module")
def still(browser, path):
    "A page on which nobody touches anything."
    page = opened(browser, path)
    yield page
    page.close()
    assert not page.trouble


@pytest.fixture
def page(browser, path):
    page = opened(browser, path)
    yield page
    page.close()
    assert not page.trouble


def ended(page, left):
    "So many workers are left, soon."
    for _ in range(50):
        if len(page.workers) == left:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{len(page.workers)} workers are at work, and not {left}")


def settings(page, widget=E):
    return page.locator(widget).evaluate("e => e.constructor.write(e)")


def train(page, rows, widget=E):
    "Until the first network has seen so many rows."
    page.locator(f"{widget} >> .run").click()
    page.locator(widget).evaluate(
        """(e, rows) => new Promise(resolve => {
            const look = () => e.networks[0].rows >= rows ? resolve() : setTimeout(look, 5);
            look();
        })""",
        rows,
    )
    page.locator(f"{widget} >> .run").click()


def spoken(page, widget=E):
    "The sentence, once it says how things stand."
    page.locator(widget).evaluate("e => { e.spoken = -Infinity; e.paint(); }")
    return page.locator(f"{widget} >> [role=status]").text_content()


def encoded(model):
    return [base64.b64encode(p.detach().numpy().tobytes()).decode() for p in model.parameters()]


def test_the_digits_arrive_exactly(still, mnist):
    found = still.locator(E).evaluate("e => e.digits.reduce((text, level) => text + level.toString(16), '')")
    expected = _levels(torch.cat([mnist.train.x[:4000], mnist.valid.x[:1000]]))
    assert found == "".join("0123456789abcdef"[level] for level in expected.ravel())
    labels = still.locator(E).evaluate("e => [...e.labels]")
    assert labels == [*mnist.train.y[:4000].tolist(), *mnist.valid.y[:1000].tolist()]


@pytest.mark.parametrize("hidden", [30, 12])
@pytest.mark.parametrize("bs", [1, 50, 500])
def test_200_steps_as_by_hand(still, digits, bs, hidden):
    torch.manual_seed(1)
    x, y = digits
    lr, model = 0.02 if bs == 1 else 0.1, MLP(784, hidden, 10).to(torch.float64)
    order = torch.cat([torch.randperm(4000) for _ in range(200 * bs // 4000 + 1)])[: 200 * bs]
    given = dict(hidden=hidden, bs=bs, lr=lr, parameters=encoded(model), order=order.tolist())
    found = still.locator(E).evaluate(NETWORK, given)
    losses = []
    for batch in order.split(bs):
        _, loss, backward = by_hand(model, cross_entropy, x[batch], y[batch])
        backward(loss)
        losses.append(loss.item())
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
                p.grad = None
    assert np.abs(np.subtract(found["losses"], losses)).max() < 1e-4
    for ours, p in zip(found["parameters"], model.parameters(), strict=True):
        assert (torch.tensor(ours).double() - p.flatten()).abs().max() < 1e-4
    assert losses[-1] != losses[0]


def test_the_noise_scale_as_in_torch(still, digits):
    torch.manual_seed(1)
    x, y = digits
    model = MLP(784, 20, 10).to(torch.float64)
    for batch in torch.randperm(4000).split(20):
        _, loss, backward = by_hand(model, cross_entropy, x[batch], y[batch])
        backward(loss)
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
                p.grad = None
    found = still.locator(E).evaluate(NETWORK, dict(hidden=20, bs=1, lr=1, parameters=encoded(model)))
    reference = torch.nn.Sequential(torch.nn.Linear(784, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10)).double()
    reference.load_state_dict(model.state_dict())
    parameters = {name: p.detach() for name, p in reference.named_parameters()}

    def loss_of_row(parameters, row, label):
        return cross_entropy(functional_call(reference, parameters, row[None]), label[None])

    of_rows = vmap(grad(loss_of_row), in_dims=(None, 0, 0))
    mean, second = torch.zeros(sum(p.numel() for p in parameters.values())).double(), 0.0
    for xb, yb in zip(x.split(500), y.split(500)):
        gradients = torch.cat([g.flatten(1) for g in of_rows(parameters, xb, yb).values()], dim=1)
        mean += gradients.sum(dim=0) / 4000
        second += gradients.square().sum().item() / 4000
    expected = (second - mean.square().sum().item()) / mean.square().sum().item()
    assert expected > 10 and abs(found / expected - 1) < 1e-4


LISTEN = """element => {
    const add = element.add;
    element.heard = [[], []];
    element.add = (network, loss, ...others) => {
        element.heard[element.networks.indexOf(network)].push(loss);
        add.call(element, network, loss, ...others);
    };
}"""


def test_start_over_gives_the_same_curve(page):
    "Bit for bit, and it is that of the arithmetic in the page. Other weights give another."
    def curve():
        train(page, 1500)
        page.wait_for_timeout(100)  # the last report
        return page.locator(E).evaluate("e => { const { heard } = e; e.heard = [[], []]; return heard; }")

    page.locator(E).evaluate(LISTEN)
    first = curve()
    page.locator(f"{E} >> .again").click()
    assert page.locator(E).evaluate("e => e.networks.every(network => network.rows === 0)")
    second = curve()
    for one, other in zip(first, second, strict=True):
        n = min(len(one), len(other))
        assert n >= 2 and one[:n] == other[:n]
    page.locator(f"{E} >> .seed").click()
    assert settings(page).endswith("seed=2")
    third = curve()
    assert third[0][0] != first[0][0]
    here = page.locator(E).evaluate(
        """(element, n) => {
            const { Digits, Network } = element.constructor.arithmetic(), { digits, labels, count } = element;
            const parts = [[0, count], [count, labels.length]].map(([from, to]) =>
                new Digits(digits.subarray(784 * from, 784 * to), labels.subarray(from, to)));
            const network = new Network({ hidden: 50, bs: 10, lr: 0.1, seed: 2 }, ...parts);
            return Array.from({ length: n }, () => network.step());
        }""",
        len(third[0]),
    )
    assert here == third[0]


def test_equal_rows_steps_and_seconds(page):
    page.locator(E).evaluate("e => e.set(e.constructor.read('bs=10,40&x=rows', e.count))")
    for axis, apart in (("rows", 140), ("steps", 1), ("seconds", 0.5)):
        page.locator(f"{E} >> .axis").select_option(axis)
        train(page, 500)
        page.wait_for_timeout(100)  # the last report
        small, large = page.locator(E).evaluate("e => e.networks.map(network => network[e.x])")
        assert abs(small - large) <= apart, axis
        page.locator(f"{E} >> .again").click()
    before = page.locator(E).evaluate("e => e.networks.map(network => network.steps)")
    page.locator(f"{E} >> .step").click()
    page.wait_for_function(f"document.querySelector('{E}').networks.every(network => network.steps === 1)")
    assert before == [0, 0]


def test_settings_in_the_address(browser, path):
    page = opened(browser, path)
    assert page.evaluate("location.hash") == ""
    slider = page.locator(f"{E} >> [data-place=bs0]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.locator(f"{E} >> [data-place=lr1]").select_option("0.5")
    page.locator(f"{E} >> [data-place=h0]").select_option("20")
    page.locator(f"{E} >> .axis").select_option("seconds")
    page.locator(f"{E} >> .add").click()
    page.locator(f"{E} >> .seed").click()
    assert page.evaluate("location.hash") == "#bs=50,500,1000&lr=0.1,0.5,0.5&h=20,50,50&x=seconds&seed=2"
    other = opened(browser, path, page.evaluate("location.hash") + "&%")  # which is no percent-encoding
    assert settings(other) == settings(page)
    assert other.locator(f"{E} >> fieldset").count() == 3
    other.locator(f"{E} >> [data-place=remove1]").click()
    assert other.evaluate("location.hash") == "#bs=50,1000&lr=0.1,0.5&h=20,50&x=seconds&seed=2"
    for each in (page, other):
        each.close()
        assert not each.trouble


@pytest.mark.parametrize("given, taken, words", [
    ("bs=9999,0", "bs=4000,1&lr=0.1&h=50&x=rows&seed=1", "The batch size cannot be “9999”: 4,000 is used."),
    ("bs=7.4", "bs=7&lr=0.1&h=50&x=rows&seed=1", "“7.4”: 7 is used"),
    ("bs=ten&lr=-3", "bs=50&lr=0.0001&h=50&x=rows&seed=1", "The learning rate cannot be “-3”"),
    ("bs=1,2,3,4,5,6", "bs=1,2,3,4&lr=0.1&h=50&x=rows&seed=1", "four networks, and not for 6"),
    ("bs=&x=epochs&seed=no&h=<b>", "bs=50&lr=0.1&h=50&x=rows&seed=1", "cannot be “epochs”: rows are used"),
    ("lr=0.3,Infinity", "bs=50,50&lr=0.3,100&h=50&x=rows&seed=1", "“Infinity”: 100 is used"),
])  # fmt: skip
def test_bad_settings_in_the_address(page, given, taken, words):
    page.evaluate("hash => { location.hash = hash; }", given)
    page.wait_for_function(f"document.querySelector('{E}').running")
    assert settings(page) == taken
    assert words in page.locator(f"{E} >> .note").text_content()
    page.locator(f"{E} >> .again").click()
    assert page.locator(f"{E} >> .note").text_content() == ""


def test_examples_by_button_and_by_link(page):
    names = [name for name, _, _ in _EXAMPLES]
    for name, title, wanted in _EXAMPLES:
        assert page.locator(f"[id={name}]").count() == 1
        button = page.locator(f"{E} >> .examples button", has_text=title)
        button.click()
        for part in wanted.split("&"):
            assert part in settings(page)
        assert button.get_attribute("aria-pressed") == "true"
        page.locator(f"{E} >> .run").click()
    link = f"<a id=link href='#{names[1]}'>too small</a>"
    page.evaluate("link => document.body.insertAdjacentHTML('beforeend', link)", link)
    page.locator("#link").click()
    page.wait_for_function(f"document.querySelector('{E}').running")
    assert settings(page).startswith("bs=1,10&lr=0.1&")
    page.wait_for_function(f"document.querySelector('{E}').networks[1].rows > 500")
    assert page.evaluate(f"document.querySelector('{E}').getBoundingClientRect().top") < 100


def test_keyboard(page):
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"""(() => {{
            const focused = document.querySelector('{E}').shadowRoot.activeElement;
            return focused?.dataset.place ?? (focused?.className || focused?.textContent);
        }})()"""))
        if reached[-1] == "run":
            page.keyboard.press("Space")
    controls = ["bs0", "lr0", "h0", "remove0", "bs1", "lr1", "h1", "remove1", "add", "run", "step", "again", "seed", "axis"]
    assert [name for name in reached if name in controls] == controls
    assert page.locator(f"{E} >> .run").text_content() == "Pause"
    page.wait_for_function(f"document.querySelector('{E}').networks[0].rows > 500")
    page.locator(f"{E} >> .run").focus()
    page.keyboard.press("Enter")
    assert page.locator(f"{E} >> .run").text_content() == "Train"
    page.locator(f"{E} >> [data-place=bs0]").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(f"{E} >> [data-place=bs0]").get_attribute("aria-valuetext") == "5"
    assert page.locator(E).evaluate("e => e.shadowRoot.activeElement.dataset.place") == "bs0"  # it keeps the focus
    page.locator(f"{E} >> .looked input").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(E).evaluate("e => e.looked") == 1


def test_the_state_in_words(page):
    assert re.match(r"Nothing is trained yet\. .* the same weights and see the 4,000 digits in the same order\.", spoken(page))
    page.locator(E).evaluate(
        """e => {
            e.sentences = 0;
            new MutationObserver(() => { e.sentences += 1; }).observe(e.find("[role=status]"), { childList: true });
        }"""
    )
    page.locator(f"{E} >> .run").click()
    page.wait_for_timeout(2500)
    assert page.locator(E).evaluate("e => e.sentences") <= 2
    page.locator(f"{E} >> .run").click()
    words = spoken(page)
    results = r"batch size 10 has \d\d\.\d % right, batch size 500 has \d+\.\d % right"
    assert re.fullmatch(rf"After [\d,]+( to [\d,]+)? rows, {results}\.", words)
    for canvas in ("loss", "accuracy"):
        assert words in page.locator(f"{E} >> .{canvas}").get_attribute("aria-label")
    page.wait_for_timeout(300)  # the last report
    spoken(page)
    wrong = page.locator(E).evaluate(
        """({ networks, inside, labels, count }) => [...inside.answers.keys()]
            .filter(n => inside.answers[n] !== labels[count + n])
            .map(n => `${labels[count + n]} not ${inside.answers[n]}`)"""
    )
    assert page.locator(f"{E} >> .count").text_content() == f"Still wrong: {len(wrong)} of 1,000"
    assert ", ".join(wrong[:24]) in page.locator(f"{E} >> .wrong").get_attribute("aria-label")
    assert re.match(r"Gradient noise scale: [\d,.]+\. By the rule", page.locator(f"{E} >> .scale").text_content())


def test_a_network_that_diverges(page):
    page.locator(E).evaluate("e => { e.networks[0].finite = false; e.networks[0].rows = 10; }")
    assert "batch size 10 has diverged" in spoken(page)
    assert page.locator(f"{E} >> .percent").first.text_content() == "diverged"


def test_two_on_one_page(browser, tmp_path):
    page_text = "<!doctype html>" + Playground()._repr_html_() + Playground(bs=20)._repr_html_()
    (tmp_path / "two.html").write_text(page_text)
    page = opened(browser, tmp_path / "two.html", "#bs=5")
    first, second = f"{E} >> nth=0", f"{E} >> nth=1"
    assert settings(page, first).startswith("bs=5&") and settings(page, second).startswith("bs=20&")
    train(page, 300, second)
    assert page.locator(first).evaluate("e => e.networks[0].rows") == 0
    page.locator(f"{second} >> .seed").click()
    assert page.evaluate("location.hash") == "#bs=5"  # which is the first one's
    page.locator(f"{first} >> .seed").click()
    assert page.evaluate("location.hash").endswith("seed=2") and settings(page, second).startswith("bs=20&")
    assert len(page.workers) == 2
    page.locator(second).evaluate("e => e.remove()")
    ended(page, 1)
    train(page, 300, first)
    page.locator(first).evaluate("e => document.body.append(e)")  # moved: it begins anew
    ready(page)
    ended(page, 1)
    assert not page.trouble
    page.close()


TIMED = """element => {
    element.times = [];
    element.begun = []; // when, while it runs
    const paint = element.paint;
    element.paint = () => {
        const start = performance.now();
        if (element.running) element.begun.push(start);
        paint.call(element);
        element.times.push(performance.now() - start);
    };
}"""


def test_an_update_of_the_screen_is_fast(page):
    page.locator(E).evaluate("e => e.set(e.constructor.read('bs=1,10,100,1000', e.count))")
    page.locator(E).evaluate(TIMED)
    train(page, 2000)
    times = page.locator(E).evaluate("e => e.times")
    half, most = np.quantile(times, (0.5, 0.95))
    print(f"{len(times)} updates with four networks: median {half:.1f} ms, 95 in 100 within {most:.1f} ms")
    assert len(times) > 10 and half < 16


def test_reduced_motion(browser, path):
    page = opened(browser, path, reduced_motion="reduce")
    page.locator(E).evaluate(TIMED)
    page.locator(f"{E} >> .run").click()
    page.wait_for_function(f"document.querySelector('{E}').begun.length > 2")
    begun = page.locator(E).evaluate("e => e.begun")
    assert np.diff(begun).min() > 990, begun  # an update a second
    page.close()
    assert not page.trouble


def test_nothing_is_drawn_where_nobody_sees_it(page):
    page.locator(E).evaluate(TIMED)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.locator(f"{E} >> .run").click()
    page.wait_for_function(f"document.querySelector('{E}').networks[0].rows > 500")
    page.wait_for_timeout(100)
    before = page.locator(E).evaluate("e => e.times.length")
    page.wait_for_timeout(300)
    assert page.locator(E).evaluate("e => e.times.length") == before
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function(f"document.querySelector('{E}').times.length > {before}")


def test_drawing_for_the_trained_network(page, digits):
    train(page, 2000)
    page.locator(f"{E} >> .draw").click()
    page.wait_for_selector(f"{E} >> draw-digit")
    assert page.locator(E).evaluate("e => e.find('draw-digit').shadowRoot.activeElement.className") == "paper"
    sizes = page.locator(E).evaluate("e => e.find('draw-digit').layers.map(layer => [layer.weight.length, layer.bias.length])")
    assert sizes == [[784 * 50, 50], [500, 10]]
    answers = page.locator(E).evaluate(
        """element => {
            const draw = element.find("draw-digit"), answers = [];
            for (let n = element.count; n < element.count + 200; n++) {
                const form = Float32Array.from(element.digits.subarray(784 * n, 784 * n + 784), level => level * 17 / 256);
                const probs = draw.constructor.probabilities(draw.layers, form);
                answers.push(probs.indexOf(Math.max(...probs)));
            }
            return answers;
        }"""
    )
    labels = page.locator(E).evaluate("e => [...e.labels.slice(e.count, e.count + 200)]")
    assert np.mean(np.equal(answers, labels)) > 0.65
    box = page.locator(f"{E} >> draw-digit >> .paper").bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240)
    page.mouse.up()
    assert "The network reads" in page.locator(f"{E} >> draw-digit >> [role=status]").text_content()
    page.locator(f"{E} >> .run").click()
    assert page.locator(f"{E} >> draw-digit").count() == 0


@pytest.mark.parametrize("lacking", ["Worker", "DecompressionStream"])
def test_a_browser_that_cannot(browser, path, lacking):
    page = browser.new_page()
    page.add_init_script(f"delete window.{lacking}")
    page.goto(path.as_uri())
    page.wait_for_function(f"document.querySelector('{E}').find('.note').textContent")
    assert f"Nothing can be trained here: {lacking} is not defined" in page.locator(f"{E} >> .note").text_content()
    page.close()


def test_few_digits(browser, mnist, tmp_path):
    few = Split(mnist.train.x[:30], mnist.train.y[:30])
    Playground(few, Split(mnist.valid.x[:3], mnist.valid.y[:3]), bs=[30, 7], hidden=[3, 4]).save(tmp_path / "few.html")
    page = opened(browser, tmp_path / "few.html")
    assert page.locator(f"{E} >> [data-place=bs0]").get_attribute("aria-valuetext") == "30"
    page.locator(f"{E} >> .run").click()
    page.wait_for_function(f"!document.querySelector('{E}').running")  # forty passes
    rows = page.locator(E).evaluate("e => e.networks.map(network => network.rows)")
    assert all(1200 <= seen < 1400 for seen in rows)
    assert "of 3" in page.locator(f"{E} >> .count").text_content()
    assert not page.trouble
    page.close()


def test_without_scripts(browser, path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    picture = page.locator(f"{E} img")
    assert picture.is_visible() and len(picture.get_attribute("alt")) > 50
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_and_a_phone(browser, path, scheme):
    page = opened(browser, path, color_scheme=scheme, has_touch=True)
    train(page, 600)
    page.evaluate("location.hash = 'bs=10,99999&lr=0.1,0.2,0.3,0.5'")  # four networks and a note
    page.wait_for_function(f"document.querySelector('{E}').networks[3].rows > 0")
    page.locator(f"{E} >> .draw").tap()
    page.wait_for_selector(f"{E} >> draw-digit")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not axe_findings(page)
    assert not page.trouble
    page.close()


def test_the_picture_in_the_package():
    path = Path(__file__).parent.parent / "minibatch_mlp" / "assets" / "playground.webp"
    assert 10_000 < path.stat().st_size < 100_000
