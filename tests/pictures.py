"""Photographs of MNIST's test digits, each row with a fault that real ones have.

`python tests/pictures.py 200 run/weights.safetensors` measures what `mlp_predict` makes of 200 digits in each row."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from minibatch_mlp.data import load_mnist
from minibatch_mlp.draw import load_mlp, mnist_form, picture_ink

SIDE = 520  # of a picture, in pixels
PAPER, CONTRAST = 220, 160  # grey levels
y, x = np.mgrid[:SIDE, :SIDE] / SIDE


def enlarged(digit, side=SIDE):
    "A digit `[784]` as ink `[side, side]` from 0 to 1."
    picture = Image.fromarray((256 * digit.reshape(28, 28)).to(torch.uint8).numpy())
    return (np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)) / 255).astype(np.float32)


def placed(ink, rng):
    "The digit on paper of `SIDE` pixels, in a size and a place of its own."
    side = rng.integers(150, 350)
    row, column = rng.integers(0, SIDE - side, 2)
    sheet = np.zeros((SIDE, SIDE))
    digit = Image.fromarray(ink).resize((side, side), Image.Resampling.BICUBIC)
    sheet[row : row + side, column : column + side] = np.asarray(digit)
    return sheet


def even(ink, rng):
    return PAPER - CONTRAST * ink


def grain(deviation):
    return lambda ink, rng: even(ink, rng) + deviation * rng.standard_normal(ink.shape)


def disc(rng, radius):
    row, column = rng.uniform(0.03, 0.97, 2)
    return np.hypot(y - row, x - column) * SIDE < radius


def specks(count, low=2, high=8):
    def add(ink, rng):
        for _ in range(count):
            ink = np.maximum(ink, disc(rng, rng.uniform(low, high)))
        return even(ink, rng)

    return add


def lines(position, spacing, width, rng):
    return (position * SIDE + rng.uniform(0, spacing)) % spacing < width


def ruled(strength=0.7, slope=0.0, spacing=65, width=3):
    def add(ink, rng):
        return even(np.maximum(ink, strength * lines(y + slope * x, spacing, width, rng)), rng)

    return add


def squared(strength=0.7, slope=0.0, spacing=50, width=2):
    def add(ink, rng):
        down, across = (lines(axis, spacing, width, rng) for axis in (y + slope * x, x - slope * y))
        return even(np.maximum(ink, strength * (down | across)), rng)

    return add


def shading(ink, rng):
    "A fall of 20 % in any direction."
    angle = rng.uniform(0, 2 * np.pi)
    return even(ink, rng) * (0.9 + 0.2 / np.sqrt(2) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)))


def shadow(width, depth=0.35, soft=0.03):
    "One side of the picture is darker."

    def add(ink, rng):
        side = (x, 1 - x, y, 1 - y)[rng.integers(4)]
        return even(ink, rng) * (1 - depth / (1 + np.exp((side - width) / soft)))

    return add


def frame(width):
    def add(ink, rng):
        picture = even(ink, rng)
        picture[np.minimum.reduce([x, 1 - x, y, 1 - y]) * SIDE < width] = 20
        return picture

    return add


def light_on_dark(ink, rng):
    return 40 + CONTRAST * ink + 4 * rng.standard_normal(ink.shape)


def tinted(ink, rng):
    "Blue ink on yellowish paper under a lamp."
    paper, pen = np.array([235, 215, 160]), np.array([40, 60, 150])
    light = 0.85 + 0.15 * x[..., None]
    return (paper + ink[..., None] * (pen - paper)) * light + 5 * rng.standard_normal((*ink.shape, 3))


def on_a_sheet(ink, rng):
    "Five per cent of the sheet's longer side."
    sheet = np.full((1200, 1600), float(PAPER))
    row, column = (1200 - 140, 20) if rng.integers(2) else (20, 1600 - 140)
    small = np.asarray(Image.fromarray((255 * ink).astype(np.uint8)).resize((112, 112), Image.Resampling.BICUBIC)) / 255
    sheet[row : row + 112, column : column + 112] -= CONTRAST * small
    return sheet + 4 * rng.standard_normal(sheet.shape)


def touching(ink, rng):
    "Cut off at the left or the top of the ink."
    first_row, first_column = ((ink > 0.5).any(axis=axis).argmax() for axis in (1, 0))
    return even(ink[first_row:] if rng.integers(2) else ink[:, first_column:], rng)


def tight(ink, rng):
    "Cut off all around the ink."
    rows, columns = ((ink > 0.1).any(axis=axis).nonzero()[0] for axis in (1, 0))
    return even(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], rng)


def small(ink, rng):
    "The 28 by 28 pixels themselves."
    return np.asarray(Image.fromarray((255 * ink).astype(np.uint8)).resize((28, 28), Image.Resampling.BOX))


def wide_sheet(ink, rng):
    "A phone's photograph of 12 million pixels."
    picture = np.full((3000, 4000), float(PAPER))
    large = np.asarray(Image.fromarray((255 * ink).astype(np.uint8)).resize((1000, 1000), Image.Resampling.BICUBIC)) / 255
    row, column = rng.integers(0, 1900), rng.integers(0, 2900)
    picture[row : row + 1000, column : column + 1000] -= CONTRAST * large
    return picture * (0.9 + 0.1 * np.linspace(0, 1, 4000)) + 6 * rng.standard_normal(picture.shape)


def everything(ink, rng):
    "Squared paper, slanted, with grain, a speck and a shadow."
    ink = np.maximum(ink, disc(rng, 5))
    paper = squared(0.4, 0.03)(ink, rng)
    return paper * (0.85 + 0.15 * x) + 6 * rng.standard_normal(ink.shape)


def pencil(ink, rng):
    return PAPER - 45 * ink + 4 * rng.standard_normal(ink.shape)


def pencil_and_speck(ink, rng):
    picture = pencil(ink, rng)
    picture[disc(rng, 7)] = 40
    return picture


def empty(ink, rng):
    return even(0 * ink, rng)


def empty_with_grain(ink, rng):
    return even(0 * ink, rng) + 6 * rng.standard_normal(ink.shape)


ROWS = {
    "even paper": even,
    "grain of deviation 4": grain(4),
    "grain of deviation 6": grain(6),
    "grain of deviation 10": grain(10),
    "grain of deviation 16": grain(16),
    "one dark speck": specks(1),
    "six specks": specks(6),
    "ruled lines": ruled(),
    "ruled lines, slanted": ruled(slope=0.05),
    "ruled lines as dark as the pen": ruled(1.0, slope=0.02),
    "squared paper": squared(),
    "squared paper, slanted": squared(slope=-0.04),
    "shading of 20 %": shading,
    "a narrow shadow at an edge": shadow(0.1),
    "a wide shadow at an edge": shadow(0.3),
    "a soft shadow at an edge": shadow(0.2, soft=0.1),
    "a sharp shadow at an edge": shadow(0.35, soft=0.004),
    "a dark frame": frame(25),
    "a thin dark frame": frame(4),
    "light pen on dark paper": light_on_dark,
    "colour, tinted paper": tinted,
    "JPEG at quality 30": even,
    "a small digit in a corner": on_a_sheet,
    "touching the border": touching,
    "cut out tightly": tight,
    "turned, and EXIF says so": even,
    "transparent PNG": even,
    "28 by 28 pixels": small,
    "12 million pixels": wide_sheet,
    "pencil": pencil,
    "pencil and a dark speck": pencil_and_speck,
    "squares, grain, speck, shading": everything,
    "two digits": even,
    "two digits, close": even,
    "an empty sheet": empty,
    "an empty sheet with grain": empty_with_grain,
    "an empty ruled sheet": lambda ink, rng: ruled()(0 * ink, rng),
    "an empty squared sheet": lambda ink, rng: squared(slope=0.02)(0 * ink, rng),
    "an empty sheet with specks": lambda ink, rng: specks(4)(0 * ink, rng),
    "an empty sheet in a frame": lambda ink, rng: frame(25)(0 * ink, rng),
    "an empty sheet with a shadow": lambda ink, rng: shadow(0.3)(0 * ink, rng),
}
FILLED = ["touching the border", "cut out tightly", "28 by 28 pixels", "a small digit in a corner", "12 million pixels"]
NO_DIGIT = [name for name in ROWS if name.startswith(("two", "an empty"))]


def save_picture(name, digits, i, folder):
    "The `i`-th picture of the row `name`. Returns its path."
    rng = np.random.default_rng(1000 + i)
    path = Path(folder) / "picture.png"
    ink = enlarged(digits[i])
    if name.startswith("two digits"):
        other = enlarged(digits[(i + 1) % len(digits)])
        if name.endswith("close"):
            ink, other = ink[:, 60:-100], other[:, 100:-60]
        ink = np.hstack([ink, other])
    elif name not in FILLED:
        ink = placed(ink, rng)
    if name == "transparent PNG":
        levels = np.zeros((SIDE, SIDE, 4), np.uint8)
        levels[..., 3] = 255 * ink.clip(0, 1)
        Image.fromarray(levels).save(path)
        return path
    picture = Image.fromarray(ROWS[name](ink, rng).clip(0, 255).astype(np.uint8))
    if name.startswith("JPEG"):
        path = path.with_suffix(".jpg")
        picture.save(path, quality=30)
    elif name.startswith("turned"):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown turned to the right
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    else:
        picture.save(path, compress_level=1)
    return path


def measure(model, name, n, read=picture_ink):
    "How many of `n` pictures are read right, wrong, refused, and wrong with more than 90 % of confidence."
    digits, labels = load_mnist().test
    digits, labels = digits[:n], labels[:n]
    counts, failures = np.zeros(4, int), []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n):
            path = save_picture(name, digits, i, folder)
            try:
                form = mnist_form(read(path))
            except ValueError as error:
                counts[2] += 1
                failures.append(f"{i} is refused: {error}")
                continue
            with torch.no_grad():
                probs = model(form[None])[0].softmax(dim=0)
            right = probs.argmax() == labels[i] and name not in NO_DIGIT
            counts[0 if right else 1] += 1
            counts[3] += not right and probs.max() > 0.9
            if not right:
                failures.append(f"{i} is read as {probs.argmax()} at {probs.max():.0%}")
    return counts, failures


if __name__ == "__main__":
    number, (network, _) = int(sys.argv[1]), load_mlp(sys.argv[2])
    print(f"{number} digits in each row{'right':>20}{'wrong':>8}{'refused':>9}{'sure and wrong':>16}")
    for row in ROWS:
        (right, wrong, refused, sure), _ = measure(network, row, number)
        print(f"{row:36}{right:6}{wrong:8}{refused:9}{sure:16}", flush=True)
