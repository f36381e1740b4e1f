"""Measure a step of each optimiser, over PyTorch's with its default settings on the same model and gradients."""

import torch
from compare import interleaved, with_one_thread

from minibatch_mlp.module import MLP
from minibatch_mlp.optim import SGD, AdamW

models = {"4 tensors": (784, 50, 10), "40 tensors": (64,) * 21}
optimizers = {
    "SGD": (SGD, torch.optim.SGD, {"lr": 1e-3}),
    "SGD with momentum": (SGD, torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}),
    "AdamW": (AdamW, torch.optim.AdamW, {"lr": 1e-3}),
}


@with_one_thread
def steps_against_torch(rounds, n=200):
    "`n` steps, for each optimiser and each model."
    ratios = {}
    for size, sizes in models.items():
        for name, (ours, torchs, options) in optimizers.items():

            def steps(kind, sizes=sizes, options=options):
                torch.manual_seed(1)
                model = MLP(*sizes)
                for p in model.parameters():
                    p.grad = torch.randn_like(p)
                optimizer = kind(model.parameters(), **options)

                def run():
                    for _ in range(n):
                        optimizer.step()

                return run

            label = f"a step of {name} on an MLP of {size}, over torch.optim's"
            ratios.update(interleaved(steps(torchs), {label: steps(ours)}, rounds))
    return ratios


def main():
    for name, ratio in steps_against_torch(15).items():
        print(f"{ratio:6.3f}  {name}", flush=True)


if __name__ == "__main__":
    main()
