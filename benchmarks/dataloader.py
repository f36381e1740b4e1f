"""Measure the data loader: over PyTorch's on the digits, and with workers over none on items that are slow."""

import time

from compare import interleaved, show, with_one_thread
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import TensorDataset

from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset, MapDataset


def epoch(loader):
    for _ in loader:
        pass


@with_one_thread
def digits_against_torch(rounds):
    "An epoch of the 50,000 digits, shuffled, in batches of 50."
    train = load_mnist().train
    ours = DataLoader(Dataset(*train), batch_size=50, shuffle=True)
    torchs = TorchLoader(TensorDataset(*train), batch_size=50, shuffle=True)
    return interleaved(lambda: epoch(torchs), {"the digits, shuffled, over PyTorch's DataLoader": lambda: epoch(ours)}, rounds)


@with_one_thread
def workers_against_none(rounds):
    "4,000 items that take 1 ms each, in batches of 50. Workers that stay have started before they are timed."
    items = MapDataset([0.001] * 4000, time.sleep)
    none = DataLoader(items, batch_size=50, collate_fn=len)
    two, kept = (DataLoader(items, 50, num_workers=2, collate_fn=len, persistent_workers=stay) for stay in (False, True))
    others = {
        "items that sleep 1 ms, two workers over none, with their start and end": lambda: epoch(two),
        "items that sleep 1 ms, two workers that stay over none": lambda: epoch(kept),
    }
    return interleaved(lambda: epoch(none), others, rounds)


def main():
    show(digits_against_torch(9))
    show(workers_against_none(3))


if __name__ == "__main__":
    main()
