"""Gradients by hand and by the small autograd, against PyTorch's: over many steps, for random formulas, and in the learner."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from minibatch_mlp.backprop import Node, by_hand
from minibatch_mlp.callbacks import Accumulate, ClipGradients, EarlyStopping, ShiftImages, TrainMetrics, lr_find
from minibatch_mlp.checkpoint import Checkpoint, resume
from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset
from minibatch_mlp.learner import Callback, DataLoaders, Learner, Progress, Schedule
from minibatch_mlp.loss import cross_entropy
from minibatch_mlp.module import MLP, Linear, ReLU, Sequential
from minibatch_mlp.optim import SGD, AdamW, one_cycle_lr
from minibatch_mlp.training import accuracy, by_autograd, train_epoch


@pytest.fixture(scope="module")
def train():
    return [tensor[:3000] for tensor in load_mnist().train]


def network(sizes, bias, ours=True):
    torch.manual_seed(1)
    linear, relu, sequential = (Linear, ReLU, Sequential) if ours else (nn.Linear, nn.ReLU, nn.Sequential)
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [linear(n_in, n_out, bias=bias), relu()]
    return sequential(*layers[:-1])


@pytest.mark.parametrize("ours", (True, False), ids=("ours", "PyTorch's"))
@pytest.mark.parametrize("bias", (True, False), ids=("biases", "no biases"))
@pytest.mark.parametrize("hidden", ((), (50,), (30, 20), (30, 20, 15)))
def test_200_steps_are_those_of_autograd(train, hidden, bias, ours):
    models = [network((784, *hidden, 10), bias, ours).to(torch.float64) for _ in range(2)]
    x, y = train[0].double(), train[1]
    losses = [[], []]
    for model, gradients, kept in zip(models, (by_hand, by_autograd), losses):
        for epoch in range(4):
            for loss, *_ in train_epoch(model, x[:2501], y[:2501], 50, 0.1, epoch=epoch, gradients=gradients):
                kept.append(loss)
    assert len(losses[0]) == 204  # the last batch of each epoch is ragged
    assert_close(*losses, rtol=0, atol=1e-12)
    assert_close(*(model.state_dict() for model in models), rtol=0, atol=1e-12)


shapes = st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=2).map(tuple)
operations = ("add", "sub", "mul", "div", "matmul", "exp", "log", "relu", "sum", "sum of rows", "T", "square", "number")


def grown(leaves, choices):
    "The same formula of nodes or of tensors: each choice makes a new value of earlier ones."
    values = list(leaves)
    for name, first, second in choices:
        a, b = values[first % len(values)], values[second % len(values)]
        shape_a, shape_b = (tuple(v.data.shape) for v in (a, b))
        if name == "matmul":
            if len(shape_a) != 2 or len(shape_b) != 2 or shape_a[1] != shape_b[0]:
                continue
            new = a @ b
        elif name in ("add", "sub", "mul", "div"):
            if any(i != j and 1 not in (i, j) for i, j in zip(reversed(shape_a), reversed(shape_b))):
                continue
            if name == "add":
                new = a + b
            elif name == "sub":
                new = a - b
            elif name == "mul":
                new = a * b
            else:
                new = a / (b * b + 1.0)
        elif name == "exp":
            new = (a * 0.1).exp()
        elif name == "log":
            new = (a * a + 0.5).log()
        elif name == "relu":
            new = a.relu()
        elif name == "sum":
            new = a.sum()
        elif name == "sum of rows":
            if len(shape_a) != 2:
                continue
            new = a.sum(dim=1) if isinstance(a, Node) else a.sum(dim=1, keepdim=True)
        elif name == "T":
            if len(shape_a) != 2:
                continue
            new = a.T
        elif name == "square":
            new = a**2.0
        else:
            new = 3.0 - 2.0 / (a * a + 1.0)
        values.append(new * 0.5)  # keep numbers small
    total = values[0].sum()
    for value in values[1:]:
        total = total + value.sum()
    return total


@settings(max_examples=150, deadline=None)
@given(
    st.lists(shapes, min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(operations), st.integers(0, 20), st.integers(0, 20)), max_size=14),
    st.integers(0, 1000),
)
def test_random_formulas_have_the_gradients_of_autograd(sizes, choices, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(size, dtype=torch.float64, generator=generator) for size in sizes]
    nodes, leaves = [Node(t) for t in tensors], [t.clone().requires_grad_() for t in tensors]
    ours, theirs = grown(nodes, choices), grown(leaves, choices)
    assert_close(ours.data, theirs.detach())
    ours.backward()
    theirs.backward()
    for node, leaf in zip(nodes, leaves):
        assert_close(node.grad, leaf.grad, rtol=1e-9, atol=1e-9)


def learner(train, gradients, cbs, opt_func=SGD):
    torch.manual_seed(1)
    data = Dataset(train[0][:2000].double(), train[1][:2000])
    dls = DataLoaders(DataLoader(data, 50, shuffle=True), [(train[0][2000:].double(), train[1][2000:])])
    return Learner(MLP(784, 30, 10).to(torch.float64), dls, opt_func=opt_func, metrics=[accuracy], cbs=cbs, gradients=gradients)


WAYS = {
    "none": list,
    "accumulation": lambda: [Accumulate(3)],
    "clipping": lambda: [ClipGradients(0.5)],
    "schedule": lambda: [Schedule(one_cycle_lr)],
    "metrics": lambda: [TrainMetrics([accuracy]), Progress()],
    "moved digits": lambda: [ShiftImages(2)],
    "early stopping": lambda: [EarlyStopping(patience=1)],
    "all": lambda: [Accumulate(2), ClipGradients(1.0), ShiftImages(1), TrainMetrics([accuracy]), Schedule(one_cycle_lr)],
}


@pytest.mark.parametrize("opt_func", (SGD, AdamW))
@pytest.mark.parametrize("way", WAYS)
def test_callbacks_work_as_by_autograd(train, way, opt_func):
    by_both = [learner(train, gradients, WAYS[way](), opt_func) for gradients in (by_hand, by_autograd)]
    for learn in by_both:
        torch.manual_seed(2)
        learn.fit(2)
    histories = [[list(row.values()) for row in learn.history] for learn in by_both]
    assert_close(*histories, rtol=0, atol=1e-9)
    assert_close(*(learn.model.state_dict() for learn in by_both), rtol=0, atol=1e-9)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(train, tmp_path):
    class Stop(Callback):
        def after_batch(self, learn):
            if learn.step == 55:
                raise KeyboardInterrupt

    whole = learner(train, by_hand, [])
    torch.manual_seed(3)
    whole.fit(2, 0.1)
    path = tmp_path / "checkpoint.pt"
    stopped = learner(train, by_hand, [Checkpoint(path, every=5), Stop()])
    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(2, 0.1)
    going_on = learner(train, by_hand, [Checkpoint(path, every=5)])
    resume(going_on, path)
    assert_close(going_on.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_lr_find_and_validation_within_a_batch(train):
    class Look(Callback):
        def before_backward(self, learn):
            if learn.batch == 3:
                learn.validate()

    plain, looking = learner(train, by_hand, []), learner(train, by_hand, [Look()])
    for learn in (plain, looking):
        torch.manual_seed(2)
        learn.fit(1, 0.1)
    assert_close(plain.model.state_dict(), looking.model.state_dict(), rtol=0, atol=0)
    found = [lr_find(learner(train, gradients, []), steps=30).losses for gradients in (by_hand, by_autograd)]
    assert_close(*found, rtol=1e-6, atol=0)


def test_a_loss_that_a_callback_changed_is_refused(train):
    class Penalty(Callback):
        def before_backward(self, learn):
            learn.loss = learn.loss + 1e-3 * learn.model[0].weight.square().sum()

    with pytest.raises(ValueError, match="use by_autograd"):
        learner(train, by_hand, [Penalty()]).fit(1, 0.1)
    learner(train, by_autograd, [Penalty()]).fit(1, 0.1)


def test_a_row_that_is_not_finite(train):
    x, y = train[0].clone(), train[1]
    x[120, 3] = float("nan")
    torch.manual_seed(1)
    model = MLP(784, 20, 10)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match="step 2"):
        for _ in train_epoch(model, x, y, 50, 0.1, gradients=by_hand):
            pass
    assert_close(model.state_dict(), before, rtol=0, atol=0)  # copies are 100 steps apart


def test_what_it_gives_is_what_cross_entropy_gives(train):
    torch.manual_seed(1)
    model = MLP(784, 20, 10)
    preds, loss, _ = by_hand(model, F.cross_entropy, train[0][:50], train[1][:50])
    assert_close(loss, cross_entropy(model(train[0][:50]), train[1][:50]).detach())
    assert not preds.requires_grad
