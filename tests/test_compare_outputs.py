"""The comparison of stored outputs must be able to fail: each kind of change is caught, and noise is not."""

import base64
import importlib.util
import io
from pathlib import Path

import pytest
from nbformat.v4 import output_from_msg
from PIL import Image

spec = importlib.util.spec_from_file_location("compare_outputs", Path(__file__).parent.parent / ".ci/compare_outputs.py")
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


@pytest.mark.parametrize("stored, new", [
    ("loss 2.300", "loss 2.305"),
    ("loss 2.300", "cost 2.300"),
    ("(50000, 784)", "(50000, 785)"),
    ("50,000 digits", "50,001 digits"),
    ("tensor([-0.091, 0.006])", "tensor([0.091, 0.006])"),
    ("tensor([1., 2.])", "tensor([1., 2., 3.])"),
    ("float32", "float64"),
    ("0.5", "nan"),
    ("x", ""),
])  # fmt: skip
def test_changed_text_is_caught(stored, new):
    assert compare.text_difference(stored, new, None)


@pytest.mark.parametrize("stored, new, tolerance", [
    ("loss 2.300", "loss 2.301", None),
    ("loss   2.30", "loss 2.30", None),
    ("5e-07 off", "6e-07 off", None),
    ("0.100, 0.960", "0.082, 0.980", 0.3),
    ("1000 of them", "990 of them", 0.05),
    ("took 12.3 s", "took 4.56 s", float("inf")),
])  # fmt: skip
def test_noise_is_let_through(stored, new, tolerance):
    assert compare.text_difference(stored, new, tolerance) is None


def test_timing_still_compares_words():
    assert compare.text_difference("took 12.3 s", "failed after 12.3 s", float("inf"))


def test_directives_need_a_reason():
    assert compare.allowance("#| tolerance: 0.1 another processor\nx") == 0.1
    assert compare.allowance("#| timing: seconds\nx") == float("inf")
    assert compare.allowance("x = 1") is None
    for source in ("#| tolerance: 0.1\nx", "#| timing:\nx", "#| tolerance: 0.1 a\n#| timing: b\nx"):
        with pytest.raises(ValueError):
            compare.allowance(source)


def png(size, colour):
    file = io.BytesIO()
    Image.new("L", size, colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_pictures():
    assert compare.picture_difference(png((100, 50), 200), png((101, 50), 205)) is None
    assert "size" in compare.picture_difference(png((100, 50), 200), png((100, 80), 200))
    assert "differs" in compare.picture_difference(png((100, 50), 200), png((100, 50), 100))


def stream(text):
    return output_from_msg({"header": {"msg_type": "stream"}, "content": {"name": "stdout", "text": text}})


def display(data):
    return output_from_msg({"header": {"msg_type": "display_data"}, "content": {"data": data, "metadata": {}}})


def test_cells():
    picture = display({"image/png": png((9, 9), 9), "text/plain": "<Figure>"})
    assert compare.cell_differences("x", [stream("a\nb\n")], [stream("a\n"), stream("b\n")]) == []
    assert compare.cell_differences("x", [picture], [picture]) == []
    assert compare.cell_differences("x", [picture], [])
    assert compare.cell_differences("x", [picture], [display({"text/plain": "<Figure>"})])
    assert compare.cell_differences("x", [], [stream("new")])
