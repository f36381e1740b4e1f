"Our optimisers beside PyTorch's under all settings, and state dicts that fit or do not."

import copy
import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minibatch_mlp.data import load_mnist
from minibatch_mlp.module import MLP
from minibatch_mlp.optim import SGD, AdamW


def product(**settings):
    return [dict(zip(settings, values)) for values in itertools.product(*settings.values())]


def possible(settings):
    return not settings["nesterov"] or (settings["momentum"] > 0 and settings["dampening"] == 0)


SGD_SETTINGS = product(
    lr=[0.05], momentum=[0.0, 0.9], dampening=[0.0, 0.3], weight_decay=[0.0, 0.1], nesterov=[False, True]
)
COMBINATIONS = [(SGD, torch.optim.SGD, settings) for settings in SGD_SETTINGS if possible(settings)]
for adam_settings in product(lr=[0.01], betas=[(0.9, 0.999), (0.0, 0.9)], eps=[1e-8, 1e-2], weight_decay=[0.0, 0.1]):
    COMBINATIONS.append((AdamW, torch.optim.AdamW, adam_settings))
assert len(COMBINATIONS) == 10 + 8


@pytest.fixture(scope="module")
def batch():
    x, y = load_mnist().train
    return F.avg_pool2d(x[:24].reshape(-1, 1, 28, 28), 4).flatten(1).double(), y[:24]


def small_model():
    torch.manual_seed(1)
    return MLP(49, 8, 6, 10).to(torch.float64)


def in_groups(model, two):
    parameters = list(model.parameters())
    if not two:
        return parameters
    return [{"params": parameters[::2]}, {"params": parameters[1::2], "lr": 0.003, "weight_decay": 0.0}]


def take_steps(model, optimizer, batch, steps):
    "Steps in which gradients are missing now and then, and those of one parameter for the first 20."
    parameters = list(model.parameters())
    for i in steps:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        if i % 3 == 1:
            parameters[i % 6].grad = None
        if i < 20:
            parameters[4].grad = None
        optimizer.step()


@pytest.mark.parametrize("two", (False, True), ids=("one group", "two groups"))
@pytest.mark.parametrize("ours, torchs, settings", COMBINATIONS)
def test_200_steps_with_states_swapped_half_way(ours, torchs, settings, two, batch):
    a, b = small_model(), small_model()
    optimizer_a, optimizer_b = ours(in_groups(a, two), **settings), torchs(in_groups(b, two), foreach=False, **settings)
    take_steps(a, optimizer_a, batch, range(100))
    take_steps(b, optimizer_b, batch, range(100))
    c, d = copy.deepcopy(a), copy.deepcopy(b)
    optimizer_c, optimizer_d = torchs(in_groups(c, two), lr=1.0, foreach=False), ours(in_groups(d, two), lr=1.0)
    optimizer_c.load_state_dict(optimizer_a.state_dict())
    optimizer_d.load_state_dict(optimizer_b.state_dict())
    for model, optimizer in ((a, optimizer_a), (b, optimizer_b), (c, optimizer_c), (d, optimizer_d)):
        take_steps(model, optimizer, batch, range(100, 200))
    for p, *others, first in zip(*(model.parameters() for model in (b, a, c, d, small_model()))):
        for q in others:
            assert_close(q, p, rtol=0, atol=1e-12)
        assert (p - first).abs().max() > 1e-3  # it did train


@pytest.mark.parametrize("ours, torchs, settings", COMBINATIONS)
def test_a_group_that_is_added_later(ours, torchs, settings, batch):
    ends = []
    for kind in (ours, torchs):
        model = small_model()
        parameters = list(model.parameters())
        optimizer = kind(parameters[4:], **settings)
        for steps in (range(30), range(30, 60)):
            take_steps(model, optimizer, batch, steps)
            if steps.start == 0:
                optimizer.add_param_group({"params": parameters[:4], "lr": 0.004})
        ends.append(parameters)
    for p, q in zip(*ends, strict=True):
        assert_close(p, q, rtol=0, atol=1e-12)


def test_a_group_that_cannot_be_added_changes_nothing():
    w, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = SGD([w], lr=0.1)
    before = copy.deepcopy(optimizer.state_dict())
    wrong = (
        ({"params": [b, w]}, ValueError, "parameter 2 in params is given twice"),
        ({"params": [b, b]}, ValueError, "parameter 2 in params is given twice"),
        ({"params": [b * 2]}, ValueError, "parameter 1 in params is no leaf"),
        ({"params": {b}}, TypeError, "params of group 1 is a set"),
        ({"params": [b], "lr": -1.0}, ValueError, "lr is -1.0"),
        ({"params": [b], "nesterov": True}, ValueError, "nesterov is True"),
        ({"params": [b], "rate": 0.1}, ValueError, "group 1 has unknown settings {'rate'}"),
        ([b], TypeError, "group 1 is not a dict with 'params'"),
    )
    for group, kind, message in wrong:
        with pytest.raises(kind, match=message):
            optimizer.add_param_group(group)
        assert optimizer.state_dict() == before
    group = {"params": b, "lr": 0.5}
    optimizer.add_param_group(group)
    assert group == {"params": b, "lr": 0.5}  # what the caller holds stays as it is
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]


def stepped(kind, dtype=torch.float32, **options):
    w, b = torch.ones(2, 3, dtype=dtype, requires_grad=True), torch.ones(3, dtype=dtype, requires_grad=True)
    optimizer = kind([{"params": [w]}, {"params": [b], "lr": 0.5}], **options)
    for _ in range(2):
        w.grad, b.grad = torch.ones_like(w), torch.ones_like(b)
        optimizer.step()
    return optimizer


def tensors(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def assert_refused(optimizer, state_dict, message):
    before = copy.deepcopy((optimizer.state_dict(), tensors(optimizer)))
    with pytest.raises(ValueError) as caught:
        optimizer.load_state_dict(state_dict)
    assert message in str(caught.value) and "nothing was loaded" in str(caught.value)
    after = optimizer.state_dict(), tensors(optimizer)
    assert_close(after[0]["state"], before[0]["state"], rtol=0, atol=0)
    assert after[0]["param_groups"] == before[0]["param_groups"]
    assert_close(after[1], before[1], rtol=0, atol=0)


def changed(optimizer, change):
    state_dict = optimizer.state_dict()
    change(state_dict)
    return state_dict


kinds = (SGD, torch.optim.SGD, {"momentum": 0.9, "lr": 0.1}), (AdamW, torch.optim.AdamW, {})
BOTH = pytest.mark.parametrize("ours, torchs, options", kinds, ids=("SGD", "AdamW"))


@BOTH
def test_the_form_is_that_of_pytorch(ours, torchs, options):
    mine, other = stepped(ours, **options).state_dict(), stepped(torchs, **options).state_dict()
    assert_close(mine["state"], other["state"], rtol=0, atol=0)
    for a, b in zip(mine["param_groups"], other["param_groups"], strict=True):
        assert a == {name: b[name] for name in a}


@BOTH
def test_what_does_not_fit_is_refused(ours, torchs, options):
    optimizer = stepped(ours, **options)
    name = ours.state_names[-1]

    def refused(change, message):
        assert_refused(optimizer, changed(optimizer, change), message)

    assert_refused(optimizer, {}, "it lacks 'state' or 'param_groups'")
    assert_refused(optimizer, MLP(2, 3).state_dict(), "it lacks 'state' or 'param_groups'")
    refused(lambda d: d["param_groups"].pop(), "groups have [1] parameters, and here [1, 1]")
    refused(lambda d: d["param_groups"][1]["params"].append(2), "groups have [1, 2] parameters, and here [1, 1]")
    refused(lambda d: d["param_groups"][1].pop("weight_decay"), "group 1 lacks {'weight_decay'}")
    refused(lambda d: d["param_groups"][1].update(lr=-1.0), "lr is -1.0")
    refused(lambda d: d["param_groups"][1].update(maximize=True), "group 1 has maximize=True")
    refused(lambda d: d["param_groups"][1].update(amsgrad=True), "group 1 has amsgrad=True")
    refused(lambda d: d["state"].update({7: d["state"][0]}), "lack parameters {7}")
    refused(lambda d: d["state"][1].update({name: torch.zeros(4)}), f"'{name}': [4]")
    refused(lambda d: d["state"][1].update(more=torch.zeros(3)), "'more': [3]")
    refused(lambda d: d["state"][1].update({name: 3}), f"'{name}': 3")


@BOTH
def test_what_comes_out_and_what_goes_in_are_copies(ours, torchs, options):
    optimizer = stepped(ours, **options)
    mine = optimizer.state_dict()
    kept = copy.deepcopy(mine)
    other = stepped(ours, **options)
    other.load_state_dict(mine)
    for changing in (optimizer, other):
        for p in tensors(changing):
            p.grad = torch.ones_like(p)
        changing.step()
    assert_close(mine["state"], kept["state"], rtol=0, atol=0)


@BOTH
def test_floats_are_cast_and_the_count_is_not(ours, torchs, options):
    double = stepped(ours, dtype=torch.float64)
    double.load_state_dict(stepped(torchs, **options).state_dict())
    for name, value in double.state_dict()["state"][0].items():
        assert value.dtype == (torch.float32 if name == "step" else torch.float64)
    assert double.param_groups[1]["lr"] == 0.5


@BOTH
def test_settings_of_pytorch_alone_do_no_harm_and_are_kept(ours, torchs, options):
    optimizer = stepped(ours, **options)
    optimizer.load_state_dict(changed(stepped(torchs, **options), lambda d: d["param_groups"][0].update(initial_lr=0.7)))
    assert optimizer.state_dict()["param_groups"][0]["initial_lr"] == 0.7


def test_states_of_other_rules_are_refused():
    assert_refused(stepped(AdamW), stepped(SGD, momentum=0.9).state_dict(), "group 0 lacks")
    assert_refused(stepped(AdamW), stepped(torch.optim.AdamW, amsgrad=True).state_dict(), "has amsgrad=True")
    assert_refused(stepped(AdamW), changed(stepped(AdamW), lambda d: d["state"][0].pop("step")), "[2, 3]} for parameter 0")
    stepped(AdamW).load_state_dict(stepped(torch.optim.Adam, weight_decay=0.0).state_dict())  # without decay the two are one


def test_whether_the_decay_was_decoupled():
    def forget(state_dict):  # as PyTorch up to 2.6 writes it
        for group in state_dict["param_groups"]:
            group.pop("decoupled_weight_decay", None)

    of_adam = stepped(torch.optim.Adam, weight_decay=0.1)
    if "decoupled_weight_decay" in of_adam.param_groups[0]:
        assert_refused(stepped(AdamW), of_adam.state_dict(), "group 0 has L2 weight decay")
    with pytest.warns(UserWarning, match="taken as AdamW's"):
        stepped(AdamW).load_state_dict(changed(stepped(torch.optim.AdamW), forget))
    with warnings.catch_warnings(action="error"):
        stepped(AdamW).load_state_dict(stepped(AdamW).state_dict())
        stepped(AdamW).load_state_dict(changed(stepped(torch.optim.Adam, weight_decay=0.0), forget))


def test_nothing_to_keep():
    assert stepped(SGD).state_dict()["state"] == {}  # without momentum
    never_stepped = AdamW([torch.ones(2, requires_grad=True)])
    never_stepped.step()
    assert len(never_stepped.state) == 0
    twin = copy.deepcopy(never_stepped)  # a copy has parameters of its own
    assert tensors(twin)[0] is not tensors(never_stepped)[0]
    optimizer = stepped(SGD)  # older versions of PyTorch write down that there is no velocity
    optimizer.load_state_dict(
        changed(optimizer, lambda d: d.update(state={0: {"momentum_buffer": None}, 1: {"momentum_buffer": None}}))
    )
    assert dict(optimizer.state) == {}
