"The fast epochs compute what the step by hand computes, whatever the sizes; nothing else is changed or read."

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.data import load_mnist
from minibatch_mlp.module import MLP
from minibatch_mlp.training import by_autograd, train_epoch

pytest.importorskip("numba", reason="numba is not installed: pip install 'minibatch_mlp[fast]'")
from minibatch_mlp.speed import buffered_epoch, compiled_epoch, pack


def pictures(n, width, whole=256, dtype=torch.float64, seed=1):
    "Sparse pictures, one of them without ink and one without a pixel of zero."
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(1, 256, (n, width), generator=generator) * (torch.rand(n, width, generator=generator) < 0.2)
    levels[0], levels[-1] = 0, 255
    return (levels.to(torch.float64) / whole).to(dtype)


def labels(n, n_classes):
    return torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(2))


def trained(epoch, model, *args):
    model = copy.deepcopy(model)
    return epoch(model, *args), [p.detach() for p in model.parameters()]


def reference_epoch(model, x, y, bs, lr, order=None):
    if order is not None:
        x, y = x[order], y[order]
    return torch.tensor([loss for loss, _, _ in train_epoch(model, x, y, bs, lr, gradients=by_hand)], dtype=x.dtype)


def usual_epoch(model, x, y, bs, lr):
    for _ in train_epoch(model, x, y, bs, lr, F.cross_entropy):
        pass


def assert_same(epoch, model, data, x, y, *settings, atol=1e-10):
    losses, weights = trained(epoch, model, data, y, *settings)
    expected_losses, expected = trained(reference_epoch, model, x, y, *settings)
    assert_close(losses, expected_losses, rtol=0, atol=atol)
    for p, q in zip(weights, expected, strict=True):
        assert_close(p, q, rtol=0, atol=atol)


@pytest.mark.parametrize("bs", [1, 3, 50, 63, 64, 65, 128, 255, 256, 257, 512, 999, 5000])
def test_batch_sizes(bs):
    torch.manual_seed(1)
    x, y = pictures(1003, 784), labels(1003, 10)
    order = torch.randperm(1003)
    model = MLP(784, 50, 10).to(torch.float64)
    assert_same(compiled_epoch, model, pack(x), x, y, bs, 0.01, order)
    assert_same(buffered_epoch, model, x, x, y, bs, 0.01, order, atol=1e-12)


@pytest.mark.parametrize(
    "sizes",
    [(784, 16, 10), (784, 17, 10), (784, 64, 10), (784, 130, 10), (5, 1, 2), (1, 3, 4), (100, 40, 30), (17, 9, 3)],
)
@pytest.mark.parametrize("whole", [255, 256])
def test_shapes(sizes, whole):
    torch.manual_seed(1)
    x, y = pictures(90, sizes[0], whole), labels(90, sizes[-1])
    assert_same(compiled_epoch, MLP(*sizes).to(torch.float64), pack(x), x, y, 20, 0.05)


@pytest.mark.parametrize("sizes", [(784, 10), (784, 50, 10), (784, 30, 20, 10), (784, 30, 20, 12, 10)])
def test_200_steps_by_hand_are_those_by_autograd_and_those_with_buffers(sizes):
    torch.manual_seed(1)
    x, y = (part[:2000] for part in load_mnist().train)
    x, model = x.double(), MLP(*sizes).to(torch.float64)
    assert_same(buffered_epoch, model, x, x, y, 10, 0.1, atol=1e-12)
    by_autograd_too = copy.deepcopy(model)
    for _ in train_epoch(by_autograd_too, x, y, 10, 0.1, gradients=by_autograd):
        pass
    for p, q in zip(by_autograd_too.parameters(), trained(reference_epoch, model, x, y, 10, 0.1)[1]):
        assert_close(p.detach(), q, rtol=0, atol=1e-12)


def test_some_rows_and_rows_again():
    x, y = pictures(100, 784), labels(100, 10)
    model = MLP(784, 20, 10).to(torch.float64)
    order = torch.tensor([99, 0, 5, 5, 5, 0, 99])
    assert_same(compiled_epoch, model, pack(x), x, y, 3, 0.05, order)
    assert_same(buffered_epoch, model, x, x, y, 3, 0.05, order)


def test_numpys_whole_numbers():
    x, y = pictures(100, 784), labels(100, 10)
    model = MLP(784, 20, 10).to(torch.float64)
    for epoch, data in ((compiled_epoch, pack(x)), (buffered_epoch, x)):
        assert_same(epoch, model, data, x, y, np.int64(30), np.float64(0.05))


def test_all_pictures_without_ink():
    x, y = torch.zeros(30, 784, dtype=torch.float64), labels(30, 10)
    assert_same(compiled_epoch, MLP(784, 20, 10).to(torch.float64), pack(x), x, y, 7, 0.5)


def test_rounds_no_more_than_pytorch():
    torch.manual_seed(1)
    x, y = (part[:1000] for part in load_mnist().train)
    model = MLP(784, 50, 10)
    _, truth = trained(reference_epoch, copy.deepcopy(model).to(torch.float64), x.double(), y, 50, 0.1)

    def distance(weights):
        return sum((p.double() - q).norm() ** 2 for p, q in zip(weights, truth)).sqrt()

    _, by_pytorch = trained(usual_epoch, model, x, y, 50, 0.1)
    # PyTorch's products round otherwise where memory begins at another place.
    for epoch, data, times in ((compiled_epoch, pack(x), 1.2), (buffered_epoch, x, 4)):
        assert distance(trained(epoch, model, data, y, 50, 0.1)[1]) < times * distance(by_pytorch)


def test_threads_give_equal_bits():
    import numba

    before = numba.get_num_threads()
    x, y = pictures(300, 784, dtype=torch.float32), labels(300, 10)
    model, results = MLP(784, 50, 10), []
    try:
        for n_threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(n_threads)
            results.append(trained(compiled_epoch, model, pack(x), y, 100, 0.05)[1])
    finally:
        numba.set_num_threads(before)
    for weights in results[1:]:
        for p, q in zip(weights, results[0]):
            assert_close(p, q, rtol=0, atol=0)


def test_leaves_the_threads_of_pytorch_alone():
    code = """
import torch
from minibatch_mlp.all import *
from minibatch_mlp.speed import compiled_epoch, pack
torch.set_num_threads(1)
compiled_epoch(MLP(4, 2, 2), pack(torch.zeros(3, 4)), torch.zeros(3, dtype=torch.int64), 2, 0.1)
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NUMBA_NUM_THREADS": "2"})


def test_learns_the_digits():
    train, valid, _ = load_mnist()
    torch.manual_seed(1)
    model, packed = MLP(784, 50, 10), pack(train.x)
    for _ in range(3):
        compiled_epoch(model, packed, train.y, 50, 0.2, torch.randperm(len(packed)))
    with torch.no_grad():
        assert (model(valid.x).argmax(dim=1) == valid.y).float().mean() > 0.96


def test_without_numba_one_sentence():
    code = "import sys; sys.modules['numba'] = None; import minibatch_mlp.speed"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: minibatch_mlp.speed compiles with numba") and "minibatch_mlp[fast]" in last
    code = "import sys; sys.modules['numba'] = None; import minibatch_mlp.all"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
