"""Measure a step of our optimisers over one of PyTorch's default ones: `python benchmarks/optim.py`."""

import torch
from compare import interleaved, show, with_one_thread
from torch import nn

from minibatch_mlp.optim import SGD, AdamW

MODELS = {"MLP of 4 tensors": (784, 50, 10), "MLP of 40 tensors": (64,) * 21}
RULES = (
    ("SGD", SGD, torch.optim.SGD, {}),
    ("SGD with momentum", SGD, torch.optim.SGD, {"momentum": 0.9}),
    ("SGD with Nesterov's and weight decay", SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    ("AdamW", AdamW, torch.optim.AdamW, {}),
)


def steps(kind, sizes, options, n=20):
    "A function that takes `n` steps with fixed gradients. The rate is tiny, so that the parameters stay as they are."
    torch.manual_seed(1)
    parameters = [p for pair in zip(sizes, sizes[1:]) for p in nn.Linear(*pair).parameters()]
    for p in parameters:
        p.grad = torch.randn_like(p) * 1e-2
    optimizer = kind(parameters, lr=1e-6, **options)

    def run():
        for _ in range(n):
            optimizer.step()

    return run


@with_one_thread
def step_against_torch(rounds=200):
    "20 steps of ours, over 20 of PyTorch's default."
    ratios = {}
    for model, sizes in MODELS.items():
        for name, ours, theirs, options in RULES:
            reference, own = (steps(kind, sizes, options) for kind in (theirs, ours))
            ratios |= interleaved(reference, {f"a step of {name}, over torch.optim's default, {model}": own}, rounds)
    return ratios


def main():
    show(step_against_torch())


if __name__ == "__main__":
    main()
