"""What would make the page of the loader long: all combinations of settings, and processes that are killed or stand still."""

import copy
import io
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import islice, product
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.data as torch_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from minibatch_mlp import dataloader
from minibatch_mlp.dataloader import BatchSampler, DataLoader, Dataset, MapDataset, RandomSampler, SequentialSampler

linux = pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc, and forks")
exactly = partial(assert_close, rtol=0, atol=0)
a_few = settings(max_examples=100, deadline=None, database=None, derandomize=True)


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
    "No test may take more than 40 s, or leave a process behind."
    if sys.platform != "linux":
        yield
        return
    before = children()
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("40 s are over"))
    signal.alarm(40)
    yield
    signal.alarm(0)
    for pid in children() - before:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"resource_tracker" in command or b"forkserver" in command  # Python's own; they stay until it ends


# What a batch is: the same as PyTorch's, and the same whatever the number of workers.


@a_few
@given(n=st.integers(1, 60), bs=st.integers(1, 70), drop_last=st.booleans(), shuffle=st.booleans(), seed=st.integers(0, 2**60))
def test_batches_partition_the_data(n, bs, drop_last, shuffle, seed):
    sampler = RandomSampler(range(n), torch.Generator().manual_seed(seed)) if shuffle else SequentialSampler(range(n))
    sampler = BatchSampler(sampler, bs, drop_last)
    batches = list(sampler)
    flat = [i for batch in batches for i in batch]
    assert len(batches) == len(sampler)
    assert len(set(flat)) == len(flat) == (n - n % bs if drop_last else n)
    assert all(len(batch) == bs for batch in batches[:-1])
    assert shuffle or flat == list(range(len(flat)))


@a_few
@given(
    n=st.integers(1, 40),
    bs=st.integers(1, 45),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    own=st.booleans(),
    seed=st.integers(0, 2**60),
)
def test_batches_are_those_of_torch(n, bs, shuffle, drop_last, own, seed):
    found = []
    for Loader in (DataLoader, torch_data.DataLoader):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed) if own else None
        loader = Loader(range(n), bs, shuffle=shuffle, drop_last=drop_last, generator=generator)
        epochs = [[batch.tolist() for batch in loader] for _ in range(2)]
        assert [len(epoch) for epoch in epochs] == [len(loader)] * 2
        found.append((epochs, torch.rand(1), torch.rand(1, generator=generator)))
    assert found[0] == found[1]


ROWS = Dataset(torch.arange(270.0).reshape(90, 3), torch.arange(90))


def three_epochs(Loader, own=False, drop_last=False, **kwargs):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2) if own else None
    loader = Loader(ROWS, 20, shuffle=True, generator=generator, drop_last=drop_last, **kwargs)
    epochs = [list(loader) for _ in range(3)]
    return epochs, torch.get_rng_state(), generator and generator.get_state()


@pytest.mark.parametrize(("own", "drop_last"), [*product([False, True], repeat=2)])
def test_workers_change_no_batch(own, drop_last):
    torchs = three_epochs(torch_data.DataLoader, own, drop_last)
    exactly(three_epochs(torch_data.DataLoader, own, drop_last, num_workers=2), torchs)
    exactly(three_epochs(DataLoader, own, drop_last), torchs)
    for num_workers, persistent, prefetch in [(1, False, 1), (2, True, 3), (3, False, 2), (3, True, 1)]:
        settings = {"num_workers": num_workers, "persistent_workers": persistent, "prefetch_factor": prefetch}
        exactly(three_epochs(DataLoader, own, drop_last, **settings), torchs)


def test_only_torchs_workers_that_stay_have_another_order():
    kept, ended = (three_epochs(torch_data.DataLoader, num_workers=1, persistent_workers=keep)[0] for keep in (True, False))
    exactly(kept[0], ended[0])
    with pytest.raises(AssertionError):
        exactly(kept[1], ended[1])


class Draws:
    "An item is three random numbers, one of each kind."

    def __len__(self):
        return 24

    def __getitem__(self, i):
        return dataloader.random.random(), np.random.rand(), torch.rand(())


def draws(num_workers, **kwargs):
    torch.manual_seed(1)
    loader = DataLoader(Draws(), 4, num_workers=num_workers, **kwargs)
    return [list(loader) for _ in range(2)]


def test_random_items_are_the_same_from_one_worker_on():
    one = draws(1)
    for kind in range(3):
        numbers = torch.cat([batch[kind] for epoch in one for batch in epoch])
        assert len(set(numbers.tolist())) == 48
    exactly(draws(2, persistent_workers=True), one)
    exactly(draws(3, prefetch_factor=1), one)


@pytest.mark.parametrize("data", [torch.arange(24.0).bfloat16(), torch.arange(24.0) * 1j, torch.ones(24, 0)])
def test_any_tensor_comes_through(data):
    exactly(list(DataLoader(Dataset(data), 5, num_workers=2)), list(DataLoader(Dataset(data), 5)))
    exactly(list(DataLoader(data, 5, num_workers=2)), list(DataLoader(data, 5)))


def test_indices_may_be_tensors():
    order = torch.randperm(90)
    for kwargs in ({"sampler": order, "batch_size": 20}, {"batch_sampler": order.split(20)}):
        exactly(list(DataLoader(ROWS, num_workers=2, **kwargs)), list(DataLoader(ROWS, **kwargs)))


@linux
def test_view_is_sent_without_what_lies_under_it():
    large = torch.arange(1e6)
    for data in (large, large.bfloat16()):
        sizes = MapDataset(data, lambda row: len(ForkingPickler.dumps(row)))
        assert torch.stack(list(DataLoader(sizes, 10, sampler=range(20), num_workers=1))).max() < 1000
    views = DataLoader(large.bfloat16(), 10, sampler=range(20), num_workers=1, collate_fn=lambda items: items[0])
    assert [view.untyped_storage().nbytes() for view in views] == [2, 2]


# A place to go on from.


class OneByOne(RandomSampler):  # draws each index when it is asked for, so to draw one too many would show
    def __iter__(self):
        for _ in range(len(self)):
            yield torch.randint(len(self), (), generator=self.generator).item()


def moments(loader, first=0):
    "Every moment of three epochs at which a run may be stopped. Each step draws from the global generator as well."
    for epoch in range(first, 3):
        yield epoch, None
        batches = iter(loader)
        yield epoch, None
        for batch in batches:
            torch.rand(3)
            yield epoch, batch


def taken(moments):
    return [batch for _, batch in moments if batch is not None]


def saved_and_read(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def make_loader(data, seed, kind, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    if kind == "sequential":
        return DataLoader(data, 4, **kwargs)
    if kind == "global":
        return DataLoader(data, 4, shuffle=True, **kwargs)
    if kind == "loader":
        return DataLoader(data, 4, shuffle=True, generator=generator, drop_last=True, **kwargs)
    if kind == "sampler":
        return DataLoader(data, 4, sampler=torch_data.RandomSampler(data, generator=generator), **kwargs)
    if kind == "batch sampler":
        return DataLoader(data, batch_sampler=torch_data.BatchSampler(OneByOne(data, generator), 4, False), **kwargs)
    return DataLoader(data, 4, sampler=OneByOne(data, generator), generator=torch.Generator().manual_seed(seed + 1), **kwargs)


KINDS = "sequential", "global", "loader", "sampler", "batch sampler", "one by one"


def goes_on(make, stop, fetched=None):
    "Stop three epochs at a moment, go on with a new loader, and compare with a run that is left alone."
    torch.manual_seed(3)
    loader = make()
    alone, end = taken(moments(loader)), [*loader.state_dict()["generators"], torch.get_rng_state()]
    torch.manual_seed(3)
    loader = make()
    run = moments(loader)
    until = list(islice(run, stop))
    state, global_state = saved_and_read((loader.state_dict(), torch.get_rng_state()))
    run.close()
    assert loader.state_dict()["batches"] == 0
    torch.manual_seed(4)  # whatever a new process has drawn
    loader = make()
    loader.load_state_dict(state)
    assert loader.state_dict()["batches"] == state["batches"]
    torch.set_rng_state(global_state)
    if fetched is not None:
        fetched.clear()
    rest = taken(moments(loader, until[-1][0]))
    exactly(taken(until) + rest, alone)
    exactly([*loader.state_dict()["generators"], torch.get_rng_state()], end)
    return rest


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_at_every_position(kind):
    fetched = []
    data = MapDataset(range(23), lambda i: fetched.append(i) or i)
    for stop, seed in product(range(1, 3 * (2 + (5 if kind == "loader" else 6)) + 1), (5, 6)):
        rest = goes_on(partial(make_loader, data, seed, kind), stop, fetched)
        assert fetched == [i for batch in rest for i in batch.tolist()]  # nothing is fetched again


WORKERS = [*product(KINDS, [(2, True, 2)]), ("global", (1, False, 1)), ("one by one", (3, False, 1))]


@pytest.mark.parametrize(("kind", "workers"), WORKERS)
def test_going_on_with_workers(kind, workers):
    settings = dict(zip(("num_workers", "persistent_workers", "prefetch_factor"), workers))
    for stop in (1, 4, 10):  # before the order is drawn, after two batches, and at the begin of the second epoch
        goes_on(lambda: make_loader(Draws(), 5, kind, **settings), stop)


def test_going_on_with_another_number_of_workers():
    torch.manual_seed(1)
    loader = DataLoader(ROWS, 20, shuffle=True, num_workers=2)
    batches = iter(loader)
    next(batches)
    state, rest = loader.state_dict(), list(batches)
    for num_workers in (0, 1, 3):
        other = DataLoader(ROWS, 20, shuffle=True, num_workers=num_workers)
        other.load_state_dict(state)
        exactly(list(other), rest)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_refused_state_changes_nothing(num_workers):
    state = DataLoader(range(23), 4, num_workers=num_workers).state_dict()
    own = RandomSampler(range(23), torch.Generator())
    for other in (
        DataLoader(range(24), 4),
        DataLoader(range(23), 5),
        DataLoader(range(23), 4, shuffle=True),
        DataLoader(range(23), 4, drop_last=True),
        DataLoader(range(23), 4, sampler=own),
    ):
        batches = iter(other)
        next(batches)
        before = other.state_dict()
        with pytest.raises(ValueError, match="of another loader: it has"):
            other.load_state_dict(state)
        assert str(other.state_dict()) == str(before)
        assert len(list(batches)) == len(other) - 1


def test_copy_has_workers_of_its_own():
    torch.manual_seed(1)
    loader = DataLoader(ROWS, 20, num_workers=1, persistent_workers=True)
    list(loader)
    batches = iter(loader)
    next(batches)
    other = copy.copy(loader)
    assert len(list(other)) == 5 and len(list(batches)) == 4 and len(list(other)) == 5


# What PyTorch's loader takes.


def rows_of_worker(worker_id):
    info = torch_data.get_worker_info()
    info.dataset.rows = [(worker_id, info.id, info.num_workers, info.seed - torch.initial_seed() % 2**32)]


class Told:
    rows = None

    def __len__(self):
        return 40

    def __getitem__(self, i):
        time.sleep(0.05)
        return torch.tensor([*self.rows[0][:3]])


def test_worker_init_fn_is_called_as_by_torch():
    for Loader in (DataLoader, torch_data.DataLoader):
        rows = torch.cat(list(Loader(Told(), 4, num_workers=2, worker_init_fn=rows_of_worker)))
        assert {tuple(row) for row in rows.tolist()} == {(0, 0, 2), (1, 1, 2)}
    assert torch_data.get_worker_info() is None


def fails(worker_id):
    raise LookupError(f"no file for worker {worker_id}")


def test_error_of_worker_init_fn_arrives():
    with pytest.raises(LookupError, match="no file for worker 0") as error:
        list(DataLoader(ROWS, num_workers=1, worker_init_fn=fails))
    assert "in fails" in str(error.value.__cause__)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_pin_memory(monkeypatch, num_workers):
    with pytest.warns(UserWarning, match="no CUDA device"):
        exactly(list(DataLoader(ROWS, 20, num_workers=num_workers, pin_memory=True)), list(DataLoader(ROWS, 20)))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor + 1000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    loader = DataLoader([{"a": torch.zeros(2)}] * 3, pin_memory=True, num_workers=num_workers)
    batches = iter(loader)
    exactly(next(batches), {"a": torch.full((1, 2), 1000.0)})
    del batches
    assert loader.state_dict()["batches"] == 0


# Errors in a worker.


def failing(error):
    raise error


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def first_error(*items, func=failing, **kwargs):
    with pytest.raises(Exception) as error:
        list(DataLoader(MapDataset(items, func), num_workers=1, **kwargs))
    return error.value, str(error.value.__cause__)


@linux
def test_errors_keep_their_type_notes_and_traceback():
    error, cause = first_error("1", "two", func=float)
    assert type(error) is ValueError and "item 1 of the data set" in error.__notes__[0] and "in _fetch_items" in cause
    error, cause = first_error(b"\xff", func=bytes.decode)
    assert type(error) is UnicodeDecodeError and error.args[1] == b"\xff"
    error, cause = first_error(TimeoutError("a server"), timeout=60)  # its own, and not that of the loader
    assert str(error) == "a server"
    error, cause = first_error("1", "{bad", func=json.loads, timeout=math.inf)  # does not keep notes; the text has them
    assert type(error) is json.JSONDecodeError and "item 1" in cause
    error, cause = first_error(Unpicklable(3, 3))  # does not survive pickling; its text does
    assert type(error) is RuntimeError and "Unpicklable: 3 and 3" in str(error) and "item 0" in str(error)
    error, cause = first_error(1, func=lambda _: threading.Lock(), collate_fn=list)  # a result that cannot be sent
    assert type(error) is TypeError and "pickle" in str(error) and "Traceback" in cause
    error, cause = first_error(1, func=lambda _: Unpicklable(3, 3), collate_fn=list)  # or that cannot be read
    assert type(error) is RuntimeError and "Unpicklable" in str(error.__cause__.__cause__)


# Workers that were not forked.

SPAWNED = """
import math, sys
from minibatch_mlp.dataloader import DataLoader, MapDataset

class Squares:
    def __len__(self): return 5
    def __getitem__(self, i): return -1 if i == 4 else i * i

def work():
    roots = MapDataset(Squares(), math.sqrt)
    for batch in DataLoader(roots, 2, num_workers=2, multiprocessing_context='spawn'): print(batch.tolist(), flush=True)
"""


def run_script(code, path=None):
    command = [sys.executable, "-c", code] if path is None else [sys.executable, path]
    if path is not None:
        path.write_text(code)
    return subprocess.run(command, capture_output=True, text=True, timeout=35)


def test_script_with_a_guard_is_imported(tmp_path):
    done = run_script(SPAWNED + "if __name__ == '__main__': work()", tmp_path / "script.py")
    assert done.stdout.splitlines() == ["[0.0, 1.0]", "[2.0, 3.0]"], done.stderr
    for words in ("ValueError: math domain error", "RemoteTraceback", "item 4 of the data set"):
        assert words in done.stderr


def test_what_cannot_be_imported_is_named(tmp_path):
    done = run_script(SPAWNED + "work()", tmp_path / "script.py")  # each worker begins the script again
    assert "a worker process has ended" in done.stderr and "must start its work under `if __name__" in done.stderr
    done = run_script(SPAWNED + "work()")  # as in a notebook: there is no file to import
    assert "dataset needs __main__.Squares, which a worker process cannot import" in done.stderr
    assert done.stderr.count("Traceback") == 1
    kwargs = {"num_workers": 1, "multiprocessing_context": "spawn"}
    for bad in ({"collate_fn": lambda items: items}, {"worker_init_fn": lambda worker_id: None}):
        with pytest.raises(TypeError, match=f"{[*bad][0]} needs .*<lambda>, which .* cannot import.*if __name__ == '__main__'"):
            next(iter(DataLoader(ROWS, **kwargs, **bad)))
    with pytest.raises(TypeError, match="cannot pickle"):
        next(iter(DataLoader([threading.Lock()], **kwargs)))


# What becomes of worker processes when things go wrong: none is left, and nothing hangs.


@linux
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


@linux
def test_worker_killed_at_any_moment_is_an_error():
    data, threads = Dataset(torch.ones(200, 500_000)), threading.active_count()  # a batch of 20 MB is sent in many pieces
    for i in range(10):
        before, batches = children(), iter(DataLoader(data, 10, sampler=list(range(200)) * 50, num_workers=2))
        next(batches)
        pid = sorted(children() - before)[i % 2]
        timer = threading.Timer(0.002 * i, os.kill, (pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(RuntimeError, match="exitcode=-SIGKILL"):
            list(zip(batches))
        assert children() == before
        timer.join()
    assert threading.active_count() == threads  # no executor still waits for the rest of a message


@linux
def test_worker_killed_between_epochs_is_an_error():
    loader = slow(0, persistent_workers=True)
    before = children()
    list(loader)
    os.kill(min(children() - before), signal.SIGKILL)
    with pytest.raises(RuntimeError, match="exitcode=-SIGKILL"):
        list(loader)
    assert len(list(loader)) == 200  # with new ones


@linux
def test_worker_that_stands_still_is_an_error():
    before, batches = children(), iter(slow(0.001, timeout=1))
    next(batches)
    for pid in children() - before:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError, match="no batch in 1 seconds"):
        list(batches)


@linux
@pytest.mark.parametrize("persistent", [False, True])
def test_leaving_early_ends_the_workers(persistent):
    before, loader = children(), slow(0.001, persistent_workers=persistent)
    assert next(iter(loader)) == 5
    assert children() == before
    with pytest.raises(ZeroDivisionError):
        for _ in loader:
            len(children() - before) == 2 and 1 / 0
    assert children() == before
    batches = iter(loader)
    next(batches)
    batches.close()
    assert children() == before
    assert len(list(loader)) == 200
    assert len(children() - before) == 2 * persistent
    del loader
    assert children() == before


@linux
def test_leaving_does_not_wait_for_items():
    start, batches = time.monotonic(), iter(slow(60))
    threading.Timer(0.5, signal.raise_signal, (signal.SIGUSR1,)).start()
    signal.signal(signal.SIGUSR1, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert time.monotonic() - start < 3


SCRIPT = """
import sys, time
from minibatch_mlp.dataloader import DataLoader, MapDataset
data = MapDataset([float(sys.argv[1])] * 10_000, time.sleep)
loaders = [DataLoader(data, 5, num_workers=2, collate_fn=len, persistent_workers=i == 0) for i in range(2)]
for batch in zip(*loaders):
    print("running", flush=True)
    if sys.argv[2] == "body": time.sleep(60)
"""


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


@linux
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


@linux
def test_killed_parent_leaves_no_orphans(script):
    process, workers = script("0.2", "body")
    assert len(workers) == 4
    process.kill()
    process.wait()
    assert all_end(workers)


@linux
def test_iterator_that_is_never_closed_does_not_keep_a_script_from_ending():
    end = "print(len(list(loaders[0])))\nbatches = iter(loaders[1])\nprint(next(batches))"
    code = SCRIPT.partition("for batch")[0].replace("10_000", "200") + end
    process = subprocess.run([sys.executable, "-c", code, "0.001"], capture_output=True, text=True, timeout=20)
    assert (process.returncode, process.stdout, process.stderr) == (0, "40\n5\n", "")


@linux
def test_forked_copy_of_a_loader_ends_nobody():
    loader = slow(0, persistent_workers=True)
    list(loader)
    before = children()
    if (pid := os.fork()) == 0:
        try:
            loader._workers.stop()
            del loader
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert children() == before and len(list(loader)) == 200


@linux
def test_two_loaders_in_threads():
    totals = []

    def work():
        for _ in range(3):
            totals.append(sum(x.sum().item() for x, _ in DataLoader(ROWS, 20, num_workers=2)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [ROWS.tensors[0].sum().item()] * 9


@linux
def test_large_batches_and_large_results_do_not_hang():
    rows = MapDataset(Dataset(torch.arange(50_000.0)[:, None].expand(-1, 20)), tuple)
    for (x,) in DataLoader(rows, batch_sampler=[list(range(50_000))] * 4, num_workers=1, prefetch_factor=3):
        assert x.shape == (50_000, 20)
    large = np.ones((50, 100_000))
    batches = DataLoader(range(300_000), 50_000, num_workers=2, collate_fn=lambda _: large, prefetch_factor=3)
    assert [batch.sum() for batch in batches] == [5_000_000] * 6


def half_a_message(then, *_):
    "Write the length of a message and less than that into the queue of results."
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    os.write(frame.f_locals["result_queue"]._writer.fileno(), struct.pack("!i", 1000) + bytes(10))
    then(60)


@linux
@pytest.mark.parametrize(("then", "error"), [(time.sleep, TimeoutError), (os._exit, RuntimeError)])
def test_half_a_batch_is_an_error(monkeypatch, then, error):
    threads = threading.active_count()
    other = iter(slow(0.001))
    next(other)
    monkeypatch.setattr(dataloader, "_fetch", partial(half_a_message, then))
    start = time.monotonic()
    with pytest.raises(error, match="no batch in 2 seconds|exitcode=60"):
        list(slow(0.001, timeout=2))
    assert time.monotonic() - start < 5
    next(other)
    other.close()
    assert threading.active_count() == threads
