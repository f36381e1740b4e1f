"""The loss against PyTorch's on every kind of number, labels that must be refused, and the page's sliders in a browser."""

import itertools
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from conftest import axe_findings
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from minibatch_mlp.loss import cross_entropy, log_softmax, logsumexp, nll

root = Path(__file__).parent.parent
inf, nan = math.inf, math.nan
ROUNDING = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 5e-3, torch.bfloat16: 4e-2}  # for results around 1


def random(*shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("added", [0, 20, -20, 100, 1e3, -1e3, 1e4, 1e5, 1e7, 1e30, 3e38])
def test_no_digit_is_lost_at_any_height(dtype, added):
    if added > torch.finfo(dtype).max:
        return
    z = random(1000, 10, dtype=dtype) + added
    exact = F.log_softmax(z.double(), dim=-1)
    ours, theirs = ((found.double() - exact).abs().max() for found in (log_softmax(z), F.log_softmax(z, dim=-1)))
    assert ours < ROUNDING[dtype] and ours <= max(3 * theirs, 8 * torch.finfo(dtype).eps)
    y = torch.arange(1000) % 10
    assert_close(cross_entropy(z, y).double(), F.cross_entropy(z.double(), y), rtol=0, atol=ROUNDING[dtype])


def test_equal_scores_are_a_guess_wherever_they_stand():
    for height in (0, 1, -7e4, 1e5, 1e20, 3e38, -3e38, torch.finfo(torch.float32).max):
        z = torch.full((4, 5), height, dtype=torch.float32)
        assert (log_softmax(z) + math.log(5)).abs().max() < 2e-7
        assert abs(cross_entropy(z, torch.arange(4)).item() - math.log(5)) < 2e-7


special = [0.0, 1.0, -300.0, 1000.0, 3e38, -3e38, inf, -inf, nan]


@pytest.mark.parametrize("first", special)
def test_special_scores_as_in_pytorch(first):
    for others in itertools.product(special, repeat=2):
        z = torch.tensor([[first, *others], [0.5, 0.0, -0.5]], requires_grad=True)
        assert_close(log_softmax(z), F.log_softmax(z, dim=-1), equal_nan=True)
        assert_close(logsumexp(z), z.logsumexp(dim=-1), equal_nan=True)
        for label in range(3):
            y = torch.tensor([label, 0])
            losses = cross_entropy(z, y), F.cross_entropy(z, y)
            assert_close(*losses, equal_nan=True)
            gradients = [torch.autograd.grad(loss, z)[0] for loss in losses]
            assert_close(*gradients, equal_nan=True)


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3), min_size=1, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_any_finite_scores(rows, data):
    z = torch.tensor(rows, dtype=torch.float64)
    y = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    assert_close(log_softmax(z), F.log_softmax(z, dim=-1), rtol=1e-13, atol=1e-14)
    assert (log_softmax(z) <= 0).all()
    assert torch.equal(cross_entropy(z, y), nll(log_softmax(z), y))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (0, 10), (5, 1), (5, 10), (2, 3, 4)])
def test_shapes(shape):
    z = random(*shape)
    assert_close(log_softmax(z), F.log_softmax(z, dim=-1))
    if shape:
        assert_close(logsumexp(z), z.logsumexp(dim=-1))


def test_derivatives():
    z, y = random(4, 6, dtype=torch.float64).requires_grad_(), torch.tensor([0, 5, 2, 2])
    for function in (logsumexp, log_softmax, lambda z: cross_entropy(z, y), lambda z: nll(log_softmax(z), y)):
        assert torch.autograd.gradcheck(function, z)
        assert torch.autograd.gradgradcheck(function, z)
    tied = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)  # where a maximum has no derivative
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, y[:3] % 5), tied)
    with torch.no_grad():
        assert_close(cross_entropy(z, y), F.cross_entropy(z, y))


losses = pytest.mark.parametrize("loss_func", [nll, cross_entropy])


@losses
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.float32, torch.float64])
def test_labels_of_another_type(loss_func, dtype):
    labels = torch.tensor([1, 0, 1], dtype=dtype)
    with pytest.raises(ValueError, match=f"position 0 is of type {dtype}, not an int64 from 0 to 9: write target.long"):
        loss_func(log_softmax(random(3, 10)), labels)


@losses
@pytest.mark.parametrize("wrong", [-1, 10, -100, 255, 2**40, -(2**63)])
def test_labels_out_of_range(loss_func, wrong):
    with pytest.raises(ValueError, match=rf"^label {wrong} at position 2 is outside 0 to 9$") as caught:
        loss_func(log_softmax(random(4, 10)), torch.tensor([0, 9, wrong, -1]))
    assert caught.value.__suppress_context__


@losses
@pytest.mark.parametrize("scores, labels", [
    ((3, 10), (2,)), ((3, 10), (4,)), ((3, 10), (3, 10)), ((3, 10), (3, 1)), ((3, 10), ()), ((10,), ()), ((10,), (10,)),
    ((0, 10), (0,)), ((3, 0), (3,)), ((0, 0), (0,)), ((3, 10, 5), (3,)), ((3, 10, 5), (3, 5)),
])  # fmt: skip
def test_shapes_that_disagree(loss_func, scores, labels):
    hint = " (one-hot labels? use target.argmax(dim=1))" if len(labels) == 2 else ""
    if labels == (3, 1):
        hint = " (labels in a column? use target[:, 0])"
    with pytest.raises(ValueError, match=re.escape(f"not {list(scores)} and {list(labels)}{hint}") + "$"):
        loss_func(-torch.ones(scores), torch.zeros(labels, dtype=torch.int64))


def test_nll_takes_log_probabilities_only():
    y = torch.tensor([0, 1])
    for wrong in (torch.tensor([[0.3, 0.7], [0.5, 0.5]]), torch.tensor([[2.0, -1.0], [-1.0, -1.0]])):
        with pytest.raises(ValueError, match="apply log_softmax first"):
            nll(wrong, y)
    assert nll(torch.tensor([[nan, -1.0], [-1.0, -1.0]]), y).isnan()
    for dtype in (torch.float16, torch.bfloat16):  # rounding must not look like a mistake
        sure = torch.tensor([[30.0, 0.0], [0.0, 30.0]], dtype=dtype)
        assert nll(F.log_softmax(sure, dim=-1), y) == nll(log_softmax(sure), y) == 0


def test_an_error_of_another_kind_is_not_taken_for_a_label():
    with pytest.raises(RuntimeError, match="meta|device"):
        cross_entropy(torch.zeros(2, 3, device="meta"), torch.tensor([0, 1])).item()


# The sliders of the page


@pytest.fixture(scope="module")
def widget():
    "What the page shows, as the notebook stores it."
    cells = nbformat.read(root / "nbs" / "01_loss.ipynb", 4).cells
    outputs = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.get("outputs", [])]
    [html] = [html for html in outputs if "<softmax-sliders" in html]
    return html


@pytest.fixture
def open_widget(browser, widget, tmp_path):
    "A function that opens a page with the sliders, which must have no error and ask nobody for anything."
    path = tmp_path / "sliders.html"
    style = "<style>:root { color-scheme: light dark; font-family: sans-serif } body { margin: 1em }</style>"
    pages = []

    def opened(copies=1, **settings):
        head = f'<!doctype html><html lang="en-GB"><meta charset="utf-8"><title>Sliders</title>{style}'
        path.write_text(f"{head}<main><h1>Sliders</h1>{widget * copies}</main>", encoding="utf-8")
        page = browser.new_page(**settings)
        page.trouble = []
        page.on("console", lambda message: page.trouble.append(message.text))
        page.on("pageerror", lambda error: page.trouble.append(str(error)))
        page.on("request", lambda request: page.trouble.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield opened
    for page in pages:
        assert not page.trouble
        page.close()


def numbers(page, element="softmax-sliders"):
    "The numbers of the rows and the loss, as the page shows them."
    text = page.locator(element).evaluate(
        """e => {
            const text = cell => cell.textContent;
            const rows = [...e.shadowRoot.querySelectorAll('tbody tr')].map(row => [...row.cells].slice(1).map(text));
            return { rows, sum: text(e.sum), loss: text(e.status) };
        }"""
    )
    rows = [[float(cell.strip().replace("−", "-")) for cell in row] for row in text["rows"]]
    label, loss = re.fullmatch(r"The true class is (\d), so the loss is (\d+\.\d{3})\.", text["loss"]).groups()
    return torch.tensor(rows, dtype=torch.float64), float(text["sum"]), int(label), float(loss)


def move(page, scores, label, element="softmax-sliders"):
    for i, score in enumerate(scores):
        page.locator(f"{element} >> [type=range]").nth(i).fill(str(score))
    page.locator(f"{element} >> [type=radio]").nth(label).check()


def expected(scores, label):
    z = torch.tensor(scores, dtype=torch.float64)
    log_probs = log_softmax(z)
    rows = torch.stack([z, z.exp(), log_probs.exp(), -log_probs], dim=1)
    return rows, z.exp().sum().item(), label, cross_entropy(z[None], torch.tensor([label])).item()


def assert_shown(found, wanted):
    "To the last digit shown."
    assert found[2] == wanted[2]
    for a, b in zip(found[:2] + found[3:], wanted[:2] + wanted[3:]):
        assert_close(torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64), rtol=0, atol=5.01e-4)


def test_sliders_against_python(open_widget, widget):
    page = open_widget()
    assert_shown(numbers(page), expected([2.0, 1.0, 0.0], 0))
    cells = re.findall(r"<td>([-\d.]+)</td>", widget.partition("<script>")[0])
    assert numbers(page)[0].flatten().tolist() == [float(cell) for cell in cells]  # the table that is there without scripts
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        scores = (torch.randint(-60, 61, (3,), generator=generator) / 10).double().tolist()
        label = torch.randint(0, 3, (), generator=generator).item()
        move(page, [round(score, 1) for score in scores], label)
        assert_shown(numbers(page), expected([round(score, 1) for score in scores], label))


def test_sliders_with_the_keyboard(open_widget):
    page = open_widget()
    page.keyboard.press("Tab")  # the classes are one group
    page.keyboard.press("ArrowDown")
    assert numbers(page)[2] == 1
    page.locator("softmax-sliders >> [type=range]").first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert_shown(numbers(page), expected([-5.9, 1.0, 0.0], 1))
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(page.locator("softmax-sliders").evaluate("e => e.shadowRoot.activeElement.ariaLabel"))
    assert reached == [None, "score of class 1", "score of class 2"]  # the first is the button of the true class


def test_two_pairs_of_sliders(open_widget):
    page = open_widget(copies=2)
    first, second = "softmax-sliders >> nth=0", "softmax-sliders >> nth=1"
    move(page, [1, 2, 3], 2, first)
    assert_shown(numbers(page, first), expected([1.0, 2.0, 3.0], 2))
    assert_shown(numbers(page, second), expected([2.0, 1.0, 0.0], 0))


def test_without_scripts(open_widget):
    page = open_widget(java_script_enabled=False)
    text = page.locator("softmax-sliders").inner_text()
    assert "0.665" in text and "The true class is 0, so the loss is 0.408." in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sliders_with_axe_and_on_a_phone(open_widget, scheme):
    page = open_widget(color_scheme=scheme)
    assert not axe_findings(page)
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        for scores in ([6, 6, 6], [-6, 6, -6]):
            move(page, scores, 0)
            table, room = page.locator("softmax-sliders").evaluate(
                "e => [e.shadowRoot.querySelector('table').offsetWidth, e.offsetWidth]"
            )
            assert table <= room and page.evaluate("document.documentElement.scrollWidth") <= width
    assert not axe_findings(page)
