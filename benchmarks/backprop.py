"""Measure gradients by hand: `train_epoch`, `Learner` and `mlp_train` over PyTorch's idiom and a plain script of it."""

import os
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median

import torch
from compare import BS, LR, idiom_epoch, interleaved, our_mlp, show, timed_process, with_one_thread, write_classic_pickle

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset
from minibatch_mlp.learner import DataLoaders, Learner, Progress
from minibatch_mlp.optim import SGD
from minibatch_mlp.training import by_autograd, train_epoch


@with_one_thread
def epochs_against_idiom(rounds):
    "An epoch in a new random order, with our layers and loss."
    train = load_mnist().train

    def with_train_epoch(gradients):
        for _ in train_epoch(our_mlp(), *train, BS, LR, order=torch.randperm(50000), gradients=gradients):
            pass

    def with_learner():
        loader = DataLoader(Dataset(*train), BS, shuffle=True)
        with redirect_stdout(StringIO()):
            Learner(our_mlp(), DataLoaders(loader), opt_func=SGD, cbs=[Progress()], gradients=by_hand).fit(1, LR)

    return interleaved(
        lambda: idiom_epoch(train),
        {
            "train_epoch with our layers and loss, new random order, by autograd": lambda: with_train_epoch(by_autograd),
            "train_epoch with our layers and loss, new random order, by hand": lambda: with_train_epoch(by_hand),
            "Learner with our loader, history and progress, by hand": with_learner,
        },
        rounds,
    )


def command_against_script(rounds):
    "`mlp_train` from the shell to its files, over a plain script that trains as much by the idiom."
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mnist.pkl.gz")
        write_classic_pickle(path)
        script = str(Path(__file__).with_name("idiom_script.py"))
        command = ["-c", "from minibatch_mlp.cli import _train_command; _train_command()", "--overwrite"]
        for _ in range(rounds):
            usual, _, _ = timed_process([script, path], cwd=folder)
            ours, _, _ = timed_process([*command, "--out", os.path.join(folder, "run")], cwd=folder)
            ratios.append(ours / usual)
    return {"mlp_train, over a plain script of PyTorch's idiom": median(ratios)}


def main():
    show(epochs_against_idiom(9))
    show(command_against_script(5))


if __name__ == "__main__":
    main()
