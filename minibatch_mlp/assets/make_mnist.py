"""Make mnist.npz, the package's copy of MNIST, from the classic file: `python make_mnist.py mnist.pkl.gz`.

The classic mnist.pkl.gz (gzip, pickle; SHA-256 below) was made for the deep learning tutorials of the LISA laboratory from
the four IDX files of Y. LeCun and C. Cortes: pixels divided by 256 as float32, the last 10,000 training digits set apart for
validation. Multiplying by 256 gives back the bytes.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

from minibatch_mlp.data import load_mnist

CLASSIC = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"

path = Path(sys.argv[1])
if hashlib.sha256(path.read_bytes()).hexdigest() != CLASSIC:
    sys.exit(f"{path} is not the classic mnist.pkl.gz: its SHA-256 is not {CLASSIC}")

arrays = {}
for part, (x, y) in load_mnist(path)._asdict().items():
    pixels = (x * 256).to(torch.uint8)
    if not (pixels / 256 == x).all():
        sys.exit(f"the pixels of {part} are no multiples of 1/256")
    arrays[f"x_{part}"] = pixels.reshape(-1, 28, 28).numpy()
    arrays[f"y_{part}"] = y.numpy().astype(np.uint8)
    print(part, hashlib.sha256(x.numpy().tobytes()).hexdigest(), np.bincount(y.numpy()))

target = Path(__file__).with_name("mnist.npz")
np.savez_compressed(target, **arrays)
print(target.name, target.stat().st_size, "bytes, SHA-256", hashlib.sha256(target.read_bytes()).hexdigest())
