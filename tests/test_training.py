"The training loop in trouble and on bad input, beyond what its page tests."

import math

import numpy as np
import pytest
import torch
from torch import nn

from minibatch_mlp.data import load_mnist
from minibatch_mlp.training import GoodWeights, fit, train_epoch

X, Y = (part[:15000] for part in load_mnist().train)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def run(model, *args, **kwargs):
    return [yb for _, _, yb in train_epoch(model, *args, **kwargs)]


BAD = [
    *[(dict(bs=bad), f"bs is {bad!r}") for bad in (0, -1, 2.0, None, True)],
    *[(dict(epochs=bad), f"epochs is {bad!r}") for bad in (0, -3, 1.5)],
    *[(dict(lr=bad), f"lr is {bad}") for bad in (-0.1, math.nan, math.inf)],
    (dict(y=Y[:99]), "x has 100 rows and y has 99"),
    (dict(x=X[:0], y=Y[:0]), "x has 0 rows and y has 0"),
    *[(dict(y=torch.where(torch.arange(100) == 3, bad, Y[:100])), f"label {bad} at position 3") for bad in (10, -1)],
]


@pytest.mark.parametrize("arguments, message", BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_arguments_are_named_and_lose_nothing(arguments, message):
    model = network()
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        fit(model, **(dict(x=X[:100], y=Y[:100], epochs=1, bs=50, lr=0.1) | arguments))
    assert torch.equal(weights(model), before)


def test_a_model_without_parameters():
    with pytest.raises(ValueError, match="plain Python list"):
        fit(nn.ReLU(), X[:100], Y[:100], 1, 50, 0.1)


def test_inputs_of_another_width():
    with pytest.raises(RuntimeError):
        fit(network(), X[:100, :700], Y[:100], 1, 50, 0.1)


def test_the_weights_go_back_to_the_last_kept_ones():
    poisoned = X.clone()
    poisoned[50 * 250] = math.inf
    model = network()
    with pytest.raises(FloatingPointError, match=r"the loss became nan in epoch 3, step 250.*before step 200 of epoch 3 again"):
        for step, _ in enumerate(train_epoch(model, poisoned, Y, 50, 0.1, epoch=3)):
            if step == 199:
                reference = weights(model)
    assert torch.equal(weights(model), reference)


def test_a_bad_first_loss_is_told_with_its_own_epoch():
    with pytest.raises(FloatingPointError, match="in epoch 3, step 0, .*before step 0 of epoch 3 again"):
        run(network(), X[:100] * math.nan, Y[:100], 50, 0.1, epoch=3)


def test_the_last_update_has_no_later_loss_to_show_that_it_went_wrong():
    model = network()
    with pytest.raises(FloatingPointError, match="a weight became"):
        fit(model, X[:50] * 1e3, Y[:50], 1, 50, 1e38)
    assert weights(model).isfinite().all()


def test_what_one_epoch_broke_may_show_in_the_next():
    model = network()
    before = weights(model)
    message = r"in epoch 1, step 0, at learning rate 1e\+20. The model has the weights from before step 0 of epoch 0 again"
    with pytest.raises(FloatingPointError, match=message):
        fit(model, X[:50], Y[:50], 5, 50, 1e20)
    assert torch.equal(weights(model), before)


def test_epochs_of_a_run_share_the_weights_to_go_back_to():
    model = network()
    good = GoodWeights(model.parameters())
    run(model, X[:100], Y[:100], 50, 0.1, epoch=0, good=good)
    before = weights(model)
    with pytest.raises(FloatingPointError, match="in epoch 1, step 1, .*before step 0 of epoch 1 again"):
        run(model, torch.cat([X[:50], X[:50] * math.nan]), Y[:100], 50, 0.1, epoch=1, good=good)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("kind", [torch.Tensor.long, torch.Tensor.int, torch.Tensor.numpy, torch.Tensor.tolist])
@pytest.mark.parametrize("bs", [50, 130, 1000, np.int64(50)])
def test_an_order_is_the_same_as_rows_in_that_order(kind, bs):
    order = torch.randperm(130, generator=torch.Generator().manual_seed(1))
    one, other = network(), network()
    seen = torch.cat(run(one, X[:130], Y[:130], bs, 0.1, order=kind(order)))
    run(other, X[order], Y[order], bs, 0.1)
    assert torch.equal(seen, Y[order])
    assert torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("rows", [0, 99, 101])
def test_an_order_of_another_length(rows):
    with pytest.raises(ValueError, match=f"order has {rows} row numbers and x has 100 rows"):
        run(network(), X[:100], Y[:100], 50, 0.1, order=torch.arange(rows))


@pytest.mark.parametrize("row", [-1, 100])
def test_an_order_with_a_row_that_is_not_there(row):
    order = torch.arange(100)
    order[7] = row
    with pytest.raises((IndexError, RuntimeError)):
        run(network(), X[:100], Y[:100], 50, 0.1, order=order)


def test_an_order_on_the_cpu_for_rows_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    seen = run(network().cuda(), X[:100].cuda(), Y[:100].cuda(), 50, 0.1, order=torch.arange(100).flip(0))
    assert torch.equal(torch.cat(seen).cpu(), Y[:100].flip(0))


def test_gradients_that_were_there_before_do_not_count():
    fresh, used = network(), network()
    used(X[:9]).sum().backward()
    for model in (fresh, used):
        run(model, X[:100], Y[:100], 50, 0.1)
    assert torch.equal(weights(fresh), weights(used))


def test_a_parameter_that_the_loss_does_not_use_is_left_alone():
    model = network()
    model.register_parameter("spare", nn.Parameter(torch.ones(3)))
    run(model, X[:100], Y[:100], 50, 0.1)
    assert model.spare.tolist() == [1, 1, 1]


def test_nothing_happens_until_a_step_is_taken():
    model = network()
    before = weights(model)
    steps = train_epoch(model, X[:100], Y[:100], 50, 0.1)
    assert torch.equal(weights(model), before)
    next(steps)
    assert not torch.equal(weights(model), before)
