"""Run a page afresh, its hidden tests included, and compare every stored output with the new one.

`python .ci/compare_outputs.py nbs/00_data.ipynb ...` prints what differs and exits with 1 if anything does. With `--store`
it keeps the new outputs in the notebook instead. Each page runs in an empty folder, as it does for a reader who copies its
code from the site. Its hidden tests run as well, and leave no trace in what it shows (hidden_cells.py); so does what
`nbdev_test` leaves out (`notest`).
(nbval compares text to the letter, or not at all where it is told to skip; it knows no tolerance for numbers and no likeness of
pictures.)

Weights inside a page that runs them must have equal shapes, and differ by no more than numbers may, as a share of their norm.
Text must be equal but for its numbers. Whole numbers must be equal. Others may differ by RELATIVE, or by one unit of the last
printed digit. Pictures must have nearly the same size and look alike. Two directives widen this for a cell, with a reason:

    #| tolerance: 0.1 why                   numbers of any kind may differ by this share of the smaller one,
                                            and pictures by this share of their ink if that is more than PICTURE_INK
    #| timing: why                          the last number of each line, a time, is not compared
"""

import argparse
import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
from hidden_cells import HIDDEN
from nbclient import NotebookClient
from PIL import Image
from safetensors.numpy import load

here = Path(__file__).parent
RELATIVE = 1e-3
PICTURE_SIZE = 0.1  # relative difference of width or height
PICTURE_INK = 0.3  # difference as a share of the ink, or of the paper where that is less, when shrunk to 128 by 128

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+|\.(?!\w))?(?:e[-+]?\d+)?(?!\w)")
WEIGHTS = re.compile(r'(?<=data-weights=")[^"]+')
EXAMPLES = re.compile(r'(?<=data-examples=")[^"]+')
NOT_RUN = re.compile(r"^#\|[ \t]*eval: false", re.M)
DIRECTIVE = re.compile(r"^#\|[ \t]*(tolerance|timing):[ \t]*(.*)$", re.M)


def allowance(source):
    "What the directives of a cell allow: the relative tolerance (or `None`), and whether lines end in a time."
    tolerance, timing = None, False
    for kind, rest in DIRECTIVE.findall(source):
        amount, _, reason = ("", "", rest) if kind == "timing" else rest.partition(" ")
        if not reason.strip():
            raise ValueError(f"a {kind} without a reason:\n{source}")
        if kind == "timing":
            timing = True
        else:
            tolerance = float(amount)
    return tolerance, timing


def last_digit(number):
    "One unit of the last printed digit: 0.01 for 1.25, 1e-7 for 5e-07."
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def text_difference(stored, new, tolerance=None, timing=False):
    "What differs between two texts, or `None`."
    shapes = [" ".join(NUMBER.sub("#", text).split()) for text in (stored, new)]
    if shapes[0] != shapes[1]:
        return f"text was\n{stored}\nand is\n{new}"
    lines = [[numbers for line in text.splitlines() if (numbers := NUMBER.findall(line))] for text in (stored, new)]
    if timing:
        lines = [[numbers[:-1] for numbers in text] for text in lines]
    pairs = zip(*([number for numbers in text for number in numbers] for text in lines), strict=True)
    for old, now in pairs:
        old_value, new_value = (float(number.replace(",", "")) for number in (old, now))
        whole = not re.search("[.e]", old + now)
        unit = 0 if whole else max(last_digit(old), last_digit(now))
        if old_value.is_integer() and new_value.is_integer():
            unit = min(unit, RELATIVE)  # `1.` and `2.` are not one apart by rounding
        relative = tolerance if tolerance is not None else 0 if whole else RELATIVE
        if abs(old_value - new_value) > 1.01 * unit + relative * min(abs(old_value), abs(new_value)):
            return f"number {old} is now {now}, in\n{new}"
    return None


def picture_difference(stored, new, tolerance=None):
    "What differs between two PNG pictures in base64, or `None`."
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in (stored, new)]
    for was, now in zip(*(picture.size for picture in pictures)):
        if abs(was - now) > PICTURE_SIZE * was:
            return f"picture had size {pictures[0].size} and has {pictures[1].size}"
    inks = [1 - np.asarray(picture.resize((128, 128), Image.Resampling.BOX), dtype=float) / 255 for picture in pictures]
    if inks[1].std() < 0.001 < inks[0].std():
        return "picture is blank"
    difference = np.abs(inks[0] - inks[1]).sum() / max(min(ink.sum(), (1 - ink).sum()) for ink in inks)
    return f"picture differs by {difference:.2f} of its ink" if difference > max(PICTURE_INK, tolerance or 0) else None


def page_difference(stored, new, tolerance=None):
    "What differs between two pages that may hold the weights of a network and examples for it, or `None`."
    weights = [WEIGHTS.findall(page) for page in (stored, new)]
    if len(weights[0]) != len(weights[1]):
        return f"page had {len(weights[0])} networks and has {len(weights[1])}"
    for pair in zip(*weights):
        was, now = (load(base64.b64decode(network)) for network in pair)
        if (shapes := {k: v.shape for k, v in was.items()}) != {k: v.shape for k, v in now.items()}:
            return f"network had {shapes} and has others"
        for name in was:
            difference = np.linalg.norm(was[name] - now[name]) / np.linalg.norm(was[name])
            if not difference <= (RELATIVE if tolerance is None else tolerance):
                return f"{name} differs by {difference:.2g} of its norm"
    if tolerance is not None:  # which digits a network gets wrong follows from its weights
        stored, new = (EXAMPLES.sub("", page) for page in (stored, new))
    stored, new = (WEIGHTS.sub("", page) for page in (stored, new))
    return None if stored == new else "page has other text"


def contents(outputs):
    "The outputs as pairs of kind and content; text of one stream that came in pieces is joined."
    found = []
    for output in outputs:
        if output.output_type == "stream":
            if found and found[-1][0] == output.name:
                found[-1] = output.name, found[-1][1] + output.text
            else:
                found.append((output.name, output.text))
        elif output.output_type == "error":
            found.append(("error", output.evalue))
        else:
            found += sorted(output.data.items())
    return found


def cell_differences(source, stored, new):
    "What differs between the stored and the new outputs of a cell, as a list of texts."
    tolerance, timing = allowance(source)
    stored, new = contents(stored), contents(new)
    kinds = [[kind for kind, _ in outputs] for outputs in (stored, new)]
    if kinds[0] != kinds[1]:
        return [f"outputs were {kinds[0]} and are {kinds[1]}"]
    differences = []
    for (kind, old), (_, now) in zip(stored, new):
        if kind == "image/png":
            differences.append(picture_difference(old, now, tolerance))
        elif kind == "text/html" and WEIGHTS.search(old):
            differences.append(page_difference(old, now, tolerance))
        else:
            differences.append(text_difference(old, now, tolerance, timing))
    return [difference for difference in differences if difference]


def is_run(cell):
    "Whether a cell is one of those that run here."
    return cell.cell_type == "code" and not NOT_RUN.search(cell.source)


def run_afresh(path):
    "The notebook at `path` with new outputs, from a clean kernel in an empty folder."
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    first = nbformat.v4.new_code_cell(f"import sys\nsys.path.append({str(here)!r})\n%load_ext hidden_cells\ndel sys")
    page = nbformat.v4.new_notebook(metadata=notebook.metadata, cells=[first, *filter(is_run, notebook.cells)])
    os.environ["TQDM_DISABLE"] = "1"  # a bar is for somebody who waits; in a stored notebook it is a dead widget
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(page, timeout=600, coalesce_streams=True, store_widget_state=False, resources=resources).execute()
    for cell in page.cells:
        if HIDDEN.search(cell.source):
            cell.outputs = []
    return notebook


def notebook_differences(path):
    "What differs between the stored and the new outputs of the notebook at `path`, as a list of texts."
    differences = []
    for old, now in zip(nbformat.read(path, as_version=4).cells, run_afresh(path).cells, strict=True):
        if old.cell_type == "code":
            for difference in cell_differences(old.source, old.outputs, now.outputs):
                differences.append(f"{path}, cell {old.id}: {difference}")
    return differences


def main():
    parser = argparse.ArgumentParser(description="Compare the stored outputs of notebooks with new ones.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--store", action="store_true", help="store the new outputs and compare nothing")
    args = parser.parse_args()
    failed = False
    for path in args.notebooks:
        if args.store:
            nbformat.write(run_afresh(path), path)
            print(f"{path}: new outputs are stored")
        else:
            differences = notebook_differences(path)
            failed |= bool(differences)
            print("\n".join(differences) or f"{path}: stored outputs are as new")
    sys.exit(failed)


if __name__ == "__main__":
    main()
