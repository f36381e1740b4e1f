"""What the batch size does: the study that the page on it draws from.

`python benchmarks/batch_size.py --out batch_size.csv` measures all of it, and writes a row for each run. `--parts` names some
of its parts; those that need the law take it from the package when it is not measured.
"""

import argparse
import csv
import math
import os
import platform
import sys
import time
from functools import partial
from statistics import median

import numba
import torch
from compare import idiom_steps, our_mlp, torch_mlp
from torch.utils.data import DataLoader, TensorDataset

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.batch_size import best_runs, read_study, steps_to
from minibatch_mlp.data import load_mnist
from minibatch_mlp.loss import cross_entropy
from minibatch_mlp.optim import AdamW
from minibatch_mlp.speed import compiled_epoch, pack
from minibatch_mlp.training import accuracy

GOAL, SEEDS = 0.97, range(3)
SIZES = 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000
NAMES = "part", "method", "bs", "lr", "warmup", "threads", "seed", "steps", "seconds", "accuracy", "machine"
MACHINE = f"{platform.machine()}, {os.cpu_count()} processors, torch {torch.__version__}, numba {numba.__version__}"
mnist = load_mnist()
packed = pack(mnist.train.x)


def sgd(model, bs, lr, warmup=0):
    "What trains `model` on some rows; over the first `warmup` steps the rate grows from near 0, every 10 steps."
    done = 0

    def train(rows):
        nonlocal done
        factor = min(1, (done + 10) / warmup) if warmup else 1
        compiled_epoch(model, packed, mnist.train.y, bs, lr * factor, rows)
        done += len(rows) // bs

    return train


def adamw(model, bs, lr):
    optimizer = AdamW(model.parameters(), lr=lr, weight_decay=0)

    def train(rows):
        for batch in rows.split(bs):
            _, loss, backward = by_hand(model, cross_entropy, mnist.train.x[batch], mnist.train.y[batch])
            backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            if not math.isfinite(loss.item()):
                raise FloatingPointError

    return train


def idiom(model, bs, lr):
    dataset, optimizer = TensorDataset(*mnist.train), torch.optim.SGD(model.parameters(), lr=lr)

    def train(rows):
        idiom_steps(model, optimizer, DataLoader(dataset, batch_size=bs, sampler=rows.tolist()))

    return train


def steps_and_seconds(method, bs, lr, seed, most, make=our_mlp):
    model = make(seed)
    return steps_to(GOAL, model, method(model, bs, lr), bs, mnist.valid, len(mnist.train.x), most)


class Study:
    "Writes a row for each run."

    def __init__(self, file, runs):
        self.writer, self.file = csv.DictWriter(file, NAMES, lineterminator="\n"), file
        self.writer.writeheader()
        self.runs = runs  # of an earlier study, for what is not measured again

    def note(self, part, method, bs, **values):
        run = {"part": part, "method": method, "bs": bs, "machine": MACHINE, **values}
        self.runs.append(run)
        measured = {name: f"{run[name]:.5g}" for name in ("seconds", "accuracy") if name in run}
        self.writer.writerow({**run, **measured})
        self.file.flush()

    def law(self):
        "For each batch size the best rate, and the steps at it."
        return best_runs([run for run in self.runs if run["part"] == "law"])

    def mean_steps(self, part, method, bs, lr, most):
        "The mean over the seeds; infinite if one of them does not get there."
        counts = []
        for seed in SEEDS:
            steps, seconds = steps_and_seconds(method, bs, lr, seed, most)
            self.note(part, method.__name__, bs, lr=lr, seed=seed, steps=steps, seconds=seconds)
            counts.append(steps)
            if steps == math.inf:
                break  # the mean is infinite, whatever follows
        return sum(counts) / len(counts)

    def best_rate(self, part, method, bs, lr, most):
        "Up or down from `lr` by factors of two, until both neighbours of the best are worse."
        means = {lr: self.mean_steps(part, method, bs, lr, most)}
        best = lr
        while True:
            enough = min(most, 1.6 * means[best])  # a run that takes longer is not the best
            for neighbour in (best / 2, 2 * best):
                if neighbour not in means:
                    means[neighbour] = self.mean_steps(part, method, bs, neighbour, enough)
            winner = min(means, key=means.get)
            if winner == best:
                return best
            best = winner


def law(study):
    lr = 2**-6
    for bs in SIZES:
        lr = study.best_rate("law", sgd, bs, lr, most=12000 + 400_000 // bs)


def with_adamw(study):
    lr = 2**-10
    for bs in (40, 160, 640, 2560):
        lr = study.best_rate("adamw", adamw, bs, lr, most=4000 + 200_000 // bs)


def with_warmup(study):
    "A large batch at growing rates, from the start and after 200 steps."
    for bs in (200, 1000):
        for warmup in (0, 200):
            for lr in (0.25, 0.5, 1.0, 2.0):
                for seed in SEEDS:
                    steps, seconds = steps_and_seconds(partial(sgd, warmup=warmup), bs, lr, seed, 4000)
                    study.note("warmup", "sgd", bs, lr=lr, warmup=warmup, seed=seed, steps=steps, seconds=seconds)


def generalisation(study):
    "Test accuracy after 20 epochs at one rate, after 20 at the rate that is best for the size, and after 4,000 steps."
    law = study.law()
    for bs in (10, 50, 200, 1000):
        tuned = law[bs][0]
        epochs_of_steps = 4000 * bs / len(mnist.train.x)
        for name, epochs, lr in (("epochs", 20, 0.0625), ("tuned", 20, tuned), ("steps", epochs_of_steps, tuned)):
            for seed in range(5):
                model = our_mlp(seed)
                train, rows = sgd(model, bs, lr), int(epochs * len(mnist.train.x))
                while rows > 0:
                    order = torch.randperm(len(mnist.train.x))[:rows]
                    train(order)
                    rows -= len(order)
                with torch.no_grad():
                    right = accuracy(model(mnist.test.x), mnist.test.y).item()
                study.note("generalisation", name, bs, lr=lr, seed=seed, accuracy=right)


def set_threads(count):
    numba.set_num_threads(count)
    torch.set_num_threads(count)  # last: both use the same OpenMP, and numba's start sets it


def seconds_of_an_epoch(method, bs):
    "The median of five epochs, or of 2,000 steps if an epoch has more."
    train, n_rows = method(our_mlp(), bs, 2**-6), len(mnist.train.x)
    rows = torch.randperm(n_rows)[: min(n_rows, 2000 * bs)]
    train(rows[: 100 * bs])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        train(rows)
        times.append(time.perf_counter() - start)
    return median(times) * n_rows / len(rows)


def cost(study):
    "Seconds of an epoch of each batch size."
    for threads in (1, 2):
        set_threads(threads)
        for bs in SIZES:
            study.note("cost", "sgd", bs, threads=threads, seconds=seconds_of_an_epoch(sgd, bs))
    set_threads(1)


def headline(study):
    "Seconds to 97 % on one core: the compiled step at its best batch size, over the idiom at its best; both in turn."
    law, programs = study.law(), {"sgd": (sgd, our_mlp), "idiom": (idiom, torch_mlp)}
    sgd(our_mlp(), 50, 0.1)(torch.arange(500))  # compiles
    medians = {name: [] for name in programs}
    for bs in (20, 50, 100, 200):
        lr, runs = law[bs][0], {name: [] for name in programs}
        for seed in SEEDS:
            for name, (method, make) in programs.items():
                steps, seconds = steps_and_seconds(method, bs, lr, seed, 20000, make)
                study.note("headline", name, bs, lr=lr, threads=1, seed=seed, steps=steps, seconds=seconds)
                runs[name].append(seconds)
        for name in programs:
            medians[name].append(median(runs[name]))
    ratio = min(medians["sgd"]) / min(medians["idiom"])
    print(f"seconds to {GOAL:.0%}: {ratio:.3f} of the idiom's, each at its best batch size", file=sys.stderr)


PARTS = {
    "law": law,
    "generalisation": generalisation,
    "warmup": with_warmup,
    "adamw": with_adamw,
    "cost": cost,
    "headline": headline,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="batch_size.csv", help="file to write (default batch_size.csv)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default all)")
    args = parser.parse_args()
    set_threads(1)
    with open(args.out, "w", newline="") as file:
        study = Study(file, [] if "law" in args.parts else read_study())
        for name in args.parts:
            start = time.perf_counter()
            PARTS[name](study)
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
