"""The comparison of stored outputs must be able to fail: each kind of change is caught, and noise is not."""

import base64
import io
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import output_from_msg
from PIL import Image, ImageOps, ImageStat
from safetensors.numpy import save

sys.path.append(str(Path(__file__).parent.parent / ".ci"))
import compare_outputs as compare


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
    ("tensor([1., 1., 1.])", "tensor([0., 2., 1.])"),
])  # fmt: skip
def test_changed_text_is_caught(stored, new):
    assert compare.text_difference(stored, new)


@pytest.mark.parametrize("stored, new, tolerance", [
    ("loss 2.300", "loss 2.301", None),
    ("loss   2.30", "loss 2.30", None),
    ("5e-07 off", "6e-07 off", None),
    ("0.100, 0.960", "0.082, 0.980", 0.3),
    ("1000 of them", "990 of them", 0.05),
    ("5e-07 off", "3e-06 off", 100),
])  # fmt: skip
def test_noise_is_let_through(stored, new, tolerance):
    assert compare.text_difference(stored, new, tolerance) is None


def test_large_tolerance_has_an_end():
    assert compare.text_difference("5e-07 off", "5e+07 off", 100)
    assert compare.text_difference("1000 steps", "2 steps", 100)


def test_timing_is_the_last_number_of_a_line():
    assert compare.text_difference("loss 0.123 in 12.3 s\nall done", "loss 0.123 in 4.56 s\nall done", timing=True) is None
    assert compare.text_difference("loss 0.123 in 12.3 s", "loss 0.456 in 12.3 s", timing=True)
    assert compare.text_difference("took 12.3 s", "failed after 12.3 s", timing=True)


def test_directives_need_a_reason():
    assert compare.allowance("#| tolerance: 0.1 another processor\nx") == (0.1, False)
    assert compare.allowance("#| timing: seconds\n#| tolerance: 2 trained\nx") == (2, True)
    assert compare.allowance("x = 1") == (None, False)
    for source in ("#| tolerance: 0.1\nx", "#| timing:\nx"):
        with pytest.raises(ValueError):
            compare.allowance(source)


def png(size, colour):
    file = io.BytesIO()
    Image.new("L", size, colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def gradient():
    file = io.BytesIO()
    Image.linear_gradient("L").resize((9, 9)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_pictures():
    assert compare.picture_difference(png((100, 50), 200), png((101, 50), 205)) is None
    assert "blank" in compare.picture_difference(gradient(), png((9, 9), 255), 2)
    assert "size" in compare.picture_difference(png((100, 50), 200), png((100, 80), 200))
    assert "differs" in compare.picture_difference(png((100, 50), 200), png((100, 50), 100))


def test_stored_pictures_differ_from_a_white_page_and_plots_from_their_mirror_image():
    found = 0
    for path in sorted((Path(__file__).parent.parent / "nbs").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if stored := output.get("data", {}).get("image/png"):
                    found += 1
                    picture = Image.open(io.BytesIO(base64.b64decode(stored))).convert("RGB")
                    others = [Image.new("RGB", picture.size, "white")]
                    if ImageStat.Stat(picture.convert("L")).mean[0] > 200:  # a plot, and not a grid of digits
                        others.append(ImageOps.mirror(picture))
                    for other in others:
                        file = io.BytesIO()
                        other.save(file, "PNG")
                        changed = base64.b64encode(file.getvalue()).decode()
                        assert compare.picture_difference(stored, changed), (path.name, cell.id)
    assert found > 10


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


def page(weights, examples="[]", text="a"):
    network = base64.b64encode(save({"0.weight": np.array(weights, dtype=np.float32)})).decode()
    return f'<draw-digit data-weights="{network}" data-examples="{examples}">{text}</draw-digit>'


@pytest.mark.parametrize("new, tolerance, caught", [
    (page([[3, 4]]), None, False),
    (page([[3, 4.001]]), None, False),
    (page([[3, 4.1]]), None, True),
    (page([[3, 4.1]], "[1]"), 0.1, False),
    (page([[3, 4]], "[1]"), None, True),
    (page([[3, 5]]), 0.1, True),
    (page([[3, float("nan")]]), 0.1, True),
    (page([[3, 4, 5]]), 0.1, True),
    (page([[3, 4]], text="b"), 0.1, True),
    ("", 0.1, True),
])  # fmt: skip
def test_networks_in_pages(new, tolerance, caught):
    assert bool(compare.page_difference(page([[3, 4]]), new, tolerance)) == caught


def test_hidden_cells_run_and_leave_no_trace(tmp_path):
    cells = [
        "import random, torch\ntorch.manual_seed(1)\nrandom.seed(1)\nx = 1\nrandom.random(), torch.rand(1).item()",
        "#| hide\ny, x = random.random() + torch.rand(1).item(), 2\ndef double(): return 2 * x\nassert double() == 4\ny",
        "print(x, 'y' in globals())\nrandom.random(), torch.rand(1).item()",
        "#| hide\n#| notest\nassert x == 2 and double() == 4",
        "x = 3",
        "#| hide\nassert x == 3 and double() == 6",
    ]

    def run(cells):
        path = tmp_path / "page.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
        return [compare.contents(cell.outputs) for cell in compare.run_afresh(path).cells]

    with_tests, without = run(cells), run(cells[::2])
    assert with_tests[::2] == without and with_tests[1::2] == [[], [], []]
    assert without[1][0] == ("stdout", "1 False\n")
    with pytest.raises(Exception, match="x == 4"):
        run([*cells, "#| hide\nassert x == 4"])
