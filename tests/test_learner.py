"""A training process is killed at random moments, and resumed to the same bits."""

import random
import subprocess
import sys
import time

import torch

PROGRAM = """
import random, sys
import numpy as np
import torch
from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset
from minibatch_mlp.learner import (Accumulate, Callback, Checkpoint, ClipGradients, DataLoaders, EarlyStopping, Learner,
                                   Schedule, ShiftImages)
from minibatch_mlp.module import MLP
from minibatch_mlp.optim import AdamW, one_cycle_lr
from minibatch_mlp.training import accuracy

class Noise(Callback):
    def before_batch(self, learn):
        if learn.training: learn.xb = learn.xb + 0.01 * np.random.rand() + 0.01 * random.random()

folder, every, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
for seed in (torch.manual_seed, np.random.seed, random.seed): seed(1)
mnist = load_mnist()
train, valid = Dataset(mnist.train.x[:2030], mnist.train.y[:2030]), Dataset(*mnist.valid)
dls = DataLoaders(DataLoader(train, batch_size=50, shuffle=True, num_workers=workers), DataLoader(valid, batch_size=1000))
cbs = [Noise(), ShiftImages(), Accumulate(3), ClipGradients(1.), Schedule(one_cycle_lr), EarlyStopping(patience=9),
       Checkpoint(f"{folder}/last.pt", every=every)]
learn = Learner(MLP(784, 100, 10), dls, opt_func=AdamW, metrics=[accuracy], cbs=cbs)
print("ready", flush=True)
if sys.argv[4:] == ["resume"]: learn.resume(f"{folder}/last.pt")
else: learn.fit(4, lr=0.003)
learn.save(f"{folder}/end.pt")
"""


def run(folder, every, *more):
    command = [sys.executable, "-c", PROGRAM, str(folder), str(every), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return errors


def assert_equal_to_the_bit(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_to_the_bit(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_equal_to_the_bit(*pair)
    else:
        assert one == other


def test_killed_at_twenty_random_moments(tmp_path):
    every = 1  # a save after every batch, so that many a kill comes during one
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir(), killed.mkdir()
    process = run(alone, every, "0")
    assert process.stdout.readline() == "ready\n"
    start = time.perf_counter()
    finish(process)
    seconds = time.perf_counter() - start

    moments, kills, during_a_save = random.Random(1), 0, 0
    while kills < 20:
        process = run(killed, every, "0", *(["resume"] if (killed / "last.pt").exists() else []))
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.01, 0.1) * seconds)
        process.kill()
        _, errors = process.communicate(timeout=20)
        assert process.returncode == -9, errors or "the run was over before it could be killed"
        kills += 1
        left = list(killed.glob(".last.pt.*"))
        during_a_save += bool(left)
        for file in left:
            file.unlink()
    errors = finish(run(killed, every, "0", "resume"))
    assert not errors or "the one before it is" in errors  # the last kill came between the two renamings of a save
    assert during_a_save > 0
    assert_equal_to_the_bit(torch.load(killed / "end.pt"), torch.load(alone / "end.pt"))
    print(f"{kills} kills, {during_a_save} of them during a save, in a run of {seconds:.1f} s")


def test_killed_with_workers_and_a_checkpoint_now_and_then(tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir(), killed.mkdir()
    process = run(alone, 7, "2")
    process.stdout.readline()
    start = time.perf_counter()
    finish(process)
    seconds = time.perf_counter() - start
    for share in (0.4, 0.3, 0.2):
        process = run(killed, 7, "2", *(["resume"] if (killed / "last.pt").exists() else []))
        process.stdout.readline()
        time.sleep(share * seconds)
        process.kill()
        process.communicate(timeout=20)  # would wait for workers that hold on to the pipe
    finish(run(killed, 7, "2", "resume"))
    assert_equal_to_the_bit(torch.load(killed / "end.pt"), torch.load(alone / "end.pt"))
