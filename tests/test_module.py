"Random trees of modules, ours and PyTorch's built in the same way: shared parameters, shared modules, buffers, None."

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minibatch_mlp.module import Module


class OurNode(Module):
    pass


class TorchNode(nn.Module):
    pass


KINDS = ("parameter", "module", "share_parameter", "share_module", "buffer", "plain", "delete", "none")
CHANGES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9), st.sampled_from("abcde")), max_size=25
)


def grow(node_type, changes):
    "The tree that `changes` describe, and for each of them the type of the error that it raised."
    nodes, parameters, errors = [node_type()], [nn.Parameter(torch.zeros(1))], []
    for value, (kind, i, j, name) in enumerate(changes):
        node = nodes[i % len(nodes)]
        try:
            if kind == "parameter":
                parameters.append(nn.Parameter(torch.full((j % 3 + 1,), float(value))))
                setattr(node, name, parameters[-1])
            elif kind == "module":
                child = node_type()
                setattr(node, name, child)
                nodes.append(child)
            elif kind == "share_parameter":
                setattr(node, name, parameters[j % len(parameters)])
            elif kind == "share_module":
                if j % len(nodes) > i % len(nodes):  # only a later node may be a child of an earlier one: no cycles
                    setattr(node, name, nodes[j % len(nodes)])
            elif kind == "buffer":
                node.register_buffer(name, torch.full((2,), float(value)))
            elif kind == "plain":
                setattr(node, name, value)
            elif kind == "delete":
                delattr(node, name)
            elif kind == "none":
                setattr(node, name, None)
            errors.append(None)
        except (AttributeError, TypeError, KeyError) as error:
            errors.append(type(error))
        if kind == "share_module" and (i, j) == (0, 9):
            nodes[0].eval()
    return nodes[0], errors


def described(named_tensors):
    return [(name, tuple(tensor.shape), tensor.flatten().tolist()) for name, tensor in named_tensors]


def assert_same(ours, torchs):
    assert described(ours.named_parameters()) == described(torchs.named_parameters())
    assert described(ours.named_buffers()) == described(torchs.named_buffers())
    assert described(ours.state_dict().items()) == described(torchs.state_dict().items())
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in torchs.named_modules()]
    assert [name for name, _ in ours.named_children()] == [name for name, _ in torchs.named_children()]
    assert [module.training for module in ours.modules()] == [module.training for module in torchs.modules()]
    assert repr(ours).replace("OurNode", "Node") == repr(torchs).replace("TorchNode", "Node")


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(CHANGES)
def test_a_random_tree_is_that_of_pytorch(changes):
    (ours, our_errors), (torchs, torch_errors) = grow(OurNode, changes), grow(TorchNode, changes)
    assert our_errors == torch_errors
    assert_same(ours, torchs)
    assert_same(ours.eval(), torchs.eval())
    doubled = {key: tensor * 2 for key, tensor in torchs.state_dict().items()}
    ours.load_state_dict(doubled)
    torchs.load_state_dict(doubled)
    assert_same(ours, torchs)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(CHANGES, st.sampled_from(("missing", "unexpected", "shape", "type")), st.integers(0, 9))
def test_a_state_dict_that_does_not_fit_changes_nothing(changes, mistake, i):
    tree, _ = grow(OurNode, changes)
    tree.register_buffer("last", torch.ones(2))  # it has one tensor at least
    before = described((name, tensor.clone()) for name, tensor in tree.state_dict().items())
    given = {key: tensor + 1 for key, tensor in tree.state_dict().items()}
    key = list(given)[i % len(given)]
    if mistake == "missing":
        del given[key]
    elif mistake == "unexpected":
        key = "nowhere"
        given[key] = torch.ones(1)
    elif mistake == "shape":
        given[key] = torch.ones(5)
    else:
        given[key] = 3.0
    with pytest.raises(RuntimeError, match=rf"(?m)^  .*{key}"):
        tree.load_state_dict(given)
    assert described(tree.state_dict().items()) == before
