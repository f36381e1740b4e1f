"""What becomes of worker processes when things go wrong: none is left, and nothing hangs."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from minibatch_mlp import dataloader
from minibatch_mlp.dataloader import DataLoader, Dataset, MapDataset

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc")

SCRIPT = """
import sys, time
from minibatch_mlp.dataloader import DataLoader, MapDataset
data = MapDataset([float(sys.argv[1])] * 10_000, time.sleep)
loaders = [DataLoader(data, 5, num_workers=2, collate_fn=len, persistent_workers=i == 0) for i in range(2)]
for batch in zip(*loaders):
    print("running", flush=True)
    if sys.argv[2] == "body": time.sleep(60)
"""


def status(pid):
    "State and parent of a process. Z is one that has ended, whether it was waited for or not."
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "Z", None


def children(pid=None):
    "The processes whose parent is `pid`, or this one."
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {child for child in pids if status(child)[1] == str(pid or os.getpid())}


def all_end(pids, seconds=5):
    end = time.monotonic() + seconds
    while any(status(pid)[0] != "Z" for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    return time.monotonic() < end


def slow(seconds, **kwargs):
    "Batches of 5 items that take `seconds` each; a batch is the number 5."
    return DataLoader(MapDataset([seconds] * 1000, time.sleep), 5, num_workers=2, collate_fn=len, **kwargs)


@pytest.fixture(autouse=True)
def limit():
    "No test may take more than 20 s, or leave a process behind."

    before = children()
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("20 s are over"))
    signal.alarm(20)
    yield
    signal.alarm(0)
    assert children() <= before


@pytest.fixture
def script():
    "Start `SCRIPT` with arguments: the process, and its workers."
    started = []

    def start(*args):
        # whatever starts the tests in the background may have them ignore SIGINT, and a child inherits that
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + SCRIPT
        command = [sys.executable, "-c", code, *args]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "running\n"
        return process, children(process.pid)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("seconds", [0.02, 60])  # the loader is in the middle of an epoch, or waits for the first batch
def test_killed_worker_is_an_error_within_five_seconds(seconds):
    before, killed = children(), []

    def kill():
        killed.extend((max(children() - before), time.monotonic()))
        os.kill(killed[0], signal.SIGKILL)

    threading.Timer(0.5, kill).start()
    with pytest.raises(RuntimeError, match="exitcode=-SIGKILL") as error:
        list(slow(seconds))
    assert f"pid={killed[0]} " in str(error.value) and time.monotonic() - killed[1] < 5


def test_worker_that_stands_still_is_an_error():
    before, batches = children(), iter(slow(0.001, timeout=1))
    next(batches)
    for pid in children() - before:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError, match="no batch in 1 seconds"):
        list(batches)


@pytest.mark.parametrize("persistent", [False, True])
def test_leaving_early_ends_the_workers(persistent):
    before, loader = children(), slow(0.001, persistent_workers=persistent)
    assert next(iter(loader)) == 5
    assert children() == before
    with pytest.raises(ZeroDivisionError):
        for _ in loader:
            len(children() - before) == 2 and 1 / 0
    assert children() == before
    assert len(list(loader)) == 200
    assert len(children() - before) == 2 * persistent
    del loader
    assert children() == before


@pytest.mark.parametrize("place", ["body", "fetch"])
def test_ctrl_c_ends_all(script, place):
    process, workers = script("0.05", place)
    assert len(workers) == 4
    time.sleep(0.1)
    for pid in (process.pid, *workers):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert errors.count("Traceback") == 1 and "KeyboardInterrupt" in errors  # the workers say nothing
    assert all_end(workers)


def test_killed_parent_leaves_no_orphans(script):
    process, workers = script("0.2", "body")
    assert len(workers) == 4
    process.kill()
    process.wait()
    assert all_end(workers)


def test_large_batches_and_large_results_do_not_hang():
    rows = MapDataset(Dataset(torch.arange(50_000.0)[:, None].expand(-1, 20)), tuple)
    for (x,) in DataLoader(rows, batch_sampler=[list(range(50_000))] * 4, num_workers=1, prefetch_factor=3):
        assert x.shape == (50_000, 20)
    large = np.ones((50, 100_000))
    batches = DataLoader(range(300_000), 50_000, num_workers=2, collate_fn=lambda _: large, prefetch_factor=3)
    assert [batch.sum() for batch in batches] == [5_000_000] * 6


@pytest.mark.parametrize(("then", "error"), [(time.sleep, TimeoutError), (os._exit, RuntimeError)])
def test_half_a_batch_is_an_error(monkeypatch, then, error):
    def half(pipe, *_):  # the length of a message, and less than that
        os.write(pipe.fileno(), struct.pack("!i", 1000) + bytes(10))
        then(60)

    monkeypatch.setattr(dataloader, "_work", half)
    start = time.monotonic()
    with pytest.raises(error, match="no batch in 1 seconds|exitcode=60"):
        list(slow(0.001, timeout=1))
    assert time.monotonic() - start < 5


def test_spawned_workers():
    code = """
import math, sys
from minibatch_mlp.dataloader import DataLoader, MapDataset
sys.platform = "not linux"
for batch in DataLoader(MapDataset([0, 1, 4, 9, -1], math.sqrt), 2, num_workers=2): print(batch.tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[0.0, 1.0]", "[2.0, 3.0]"]
    for words in ("ValueError: math domain error", "RemoteTraceback", "item 4 of the data set"):
        assert words in done.stderr
