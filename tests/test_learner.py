"""Runs are killed and resumed to the same bits, callbacks fail everywhere, and a bar is seen in a notebook."""

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from itertools import accumulate

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from minibatch_mlp.callbacks import (
    Accumulate,
    ClipGradients,
    EarlyStopping,
    LearningRateMonitor,
    ShiftImages,
    TensorBoard,
    TrainMetrics,
)
from minibatch_mlp.checkpoint import Checkpoint, load, read_checkpoint, resume
from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset
from minibatch_mlp.learner import (
    EVENTS,
    PARTS,
    Callback,
    DataLoaders,
    KeepFinite,
    Learner,
    Schedule,
    SkipBatch,
    SkipEpoch,
    SkipStep,
    StopFit,
    optimized_parameters,
)
from minibatch_mlp.module import MLP
from minibatch_mlp.optim import SGD, AdamW, clip_grad_norm_, cosine_lr
from minibatch_mlp.training import accuracy

mnist = load_mnist()

PROGRAM = """
import os, random, sys
import numpy as np
import torch
from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset
from minibatch_mlp.callbacks import Accumulate, ClipGradients, EarlyStopping, ShiftImages
from minibatch_mlp.checkpoint import Checkpoint, resume, save
from minibatch_mlp.learner import Callback, DataLoaders, Learner, Schedule
from minibatch_mlp.module import MLP
from minibatch_mlp.optim import AdamW, one_cycle_lr
from minibatch_mlp.training import accuracy

class Noise(Callback):
    def before_batch(self, learn): learn.xb = learn.xb + 0.01 * np.random.rand() + 0.01 * random.random()

class Tell(Callback):
    order, looks_on = -99, True
    def after_batch(self, learn): print("batch", flush=True)

torch.set_num_threads(1)
mnist = load_mnist()

def work(folder, every, workers, *more):
    for seed in (torch.manual_seed, np.random.seed, random.seed): seed(1)
    train, valid = Dataset(mnist.train.x[:2030], mnist.train.y[:2030]), Dataset(*mnist.valid)
    loader = DataLoader(train, batch_size=50, shuffle=True, num_workers=int(workers))
    cbs = [Noise(), ShiftImages(), Accumulate(3), ClipGradients(1.), Schedule(one_cycle_lr), EarlyStopping(patience=9), Tell(),
           Checkpoint(f"{folder}/last.pt", every=int(every))]
    dls = DataLoaders(loader, DataLoader(valid, batch_size=1000))
    learn = Learner(MLP(784, 100, 10), dls, opt_func=AdamW, metrics=[accuracy], cbs=cbs)
    if more: resume(learn, f"{folder}/last.pt")
    else: learn.fit(4, lr=0.003)
    save(learn, f"{folder}/end.pt")
"""
ALONE = PROGRAM + "work(*sys.argv[1:])"
# Each line is a run in a process of its own, which has imported everything already: that takes seconds.
FORKED = PROGRAM + """
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        print(os.getpid(), flush=True)
        work(*line.rstrip("\\n").split("\\t"))
        sys.exit()
    print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server():
    with subprocess.Popen([sys.executable, "-c", FORKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server
        server.stdin.close()


def start(server, *settings):
    "The process of a run."
    print(*settings, sep="\t", file=server.stdin, flush=True)
    return int(server.stdout.readline())


def ending(server):
    return next(line for line in server.stdout if line != "batch\n")


def kill_after(server, settings, batches, seconds):
    "Start a run, and kill it so many seconds after the end of its so many-th batch."
    pid = start(server, *settings)
    for _ in range(batches):
        assert server.stdout.readline() == "batch\n"
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    assert ending(server) == "ended -9\n"


def finish(server, *settings):
    start(server, *settings)
    assert ending(server) == "ended 0\n"


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


def test_killed_at_twenty_random_moments(server, tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir(), killed.mkdir()
    finish(server, alone, 1, 0)  # a save after every batch, so that many a kill comes during one

    moments, during_a_save = random.Random(1), 0
    for _ in range(20):  # 164 batches are more than these runs can do
        # between the two renamings of a save there is only the file before
        more = ["resume"] if any(killed.glob("last.pt*")) else []
        kill_after(server, [killed, 1, 0, *more], moments.randint(1, 5), moments.uniform(0, 0.02))
        during_a_save += any(killed.glob(".last.pt.*"))
    command = [sys.executable, "-c", ALONE, killed, "1", "0", "resume"]  # a process that is no copy of one that knows the run
    errors = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    assert not errors or "the one before it is" in errors  # the last kill came between the two renamings of a save
    assert during_a_save > 0
    assert not any(killed.glob(".last.pt.*"))  # the next save has removed what a killed one left
    assert_equal_to_the_bit(torch.load(killed / "end.pt"), torch.load(alone / "end.pt"))


def test_killed_with_workers_and_a_checkpoint_now_and_then(server, tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir(), killed.mkdir()
    finish(server, alone, 7, 2)
    for batches in (40, 33, 25):
        more = ["resume"] if any(killed.glob("last.pt*")) else []
        kill_after(server, [killed, 7, 2, *more], batches, 0.001)
    finish(server, killed, 7, 2, "resume")
    assert_equal_to_the_bit(torch.load(killed / "end.pt"), torch.load(alone / "end.pt"))


class Noise(Callback):
    "Draws from other sources too, some of it before a fit and before an epoch."

    def draw(self, learn):
        torch.rand(1)
        np.random.rand()

    before_fit = before_epoch = draw

    def before_batch(self, learn):
        learn.xb = learn.xb + 0.01 * np.random.rand() + 0.01 * random.random()


class KillAt(Callback):
    order, looks_on = 99, True

    def __init__(self, batch):
        self.batch = batch  # of all epochs

    def before_fit(self, learn):
        self.seen = 0

    def after_batch(self, learn):
        self.seen += 1
        if self.seen == self.batch:
            raise KeyboardInterrupt


few = Dataset(mnist.train.x[:330], mnist.train.y[:330])
LOADERS = {
    "ours": lambda: DataLoader(few, batch_size=50, shuffle=True),
    "ours with a generator": lambda: DataLoader(few, 50, shuffle=True, generator=torch.Generator().manual_seed(7)),
    "ours with workers": lambda: DataLoader(few, 50, shuffle=True, num_workers=2),
    "PyTorch's": lambda: torch.utils.data.DataLoader(few, batch_size=50, shuffle=True),
    "a list": lambda: list(zip(few.tensors[0].split(50), few.tensors[1].split(50))),
}


def everything(loader, *cbs):
    "A learner with all that remembers or draws."
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(2)
    dls = DataLoaders(loader(), DataLoader(Dataset(mnist.valid.x[:100], mnist.valid.y[:100]), 30, shuffle=True))
    callbacks = [Noise(), Accumulate(3), ClipGradients(1.0), Schedule(cosine_lr), EarlyStopping(patience=1), ShiftImages()]
    callbacks += [TrainMetrics([accuracy]), *cbs]
    return Learner(MLP(784, 10, 10), dls, opt_func=AdamW, metrics=[accuracy], cbs=callbacks)


@pytest.mark.parametrize("name", LOADERS)
def test_resumed_at_every_batch(name, tmp_path):
    loader, path = LOADERS[name], tmp_path / "run.pt"
    every = int(name.startswith("ours"))  # the others are gone on with between epochs
    reference = everything(loader)
    reference.fit(3, lr=0.01)
    for batch in range(1, 22, 1 if name == "ours" else 4):  # steps of 4 come to six of the seven places in an epoch
        victim = everything(loader, Checkpoint(path, every=every, overwrite=True), KillAt(batch))
        with contextlib.suppress(KeyboardInterrupt):
            victim.fit(3, lr=0.01)
        risen = everything(loader, Checkpoint(path, every=every))
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(batch)
        resume(risen, path)
        assert risen.history == reference.history
        assert_equal_to_the_bit(risen.model.state_dict(), reference.model.state_dict())
        assert_equal_to_the_bit(risen.opt.state_dict(), reference.opt.state_dict())


class Log(Callback):
    "Writes down what it is told, and raises at one event."

    def __init__(self, event=None, error=None):
        self.event, self.error, self.seen = event, error, []

    def __getattr__(self, name):
        if name not in EVENTS:
            raise AttributeError(name)

        def note(learn):
            self.seen.append(name)
            if name == self.event:
                raise self.error

        return note


@pytest.mark.parametrize("event", EVENTS)
def test_who_has_begun_is_cleaned_up_once(event):
    errors = RuntimeError(), KeyboardInterrupt(), SkipBatch(), SkipStep(), SkipEpoch(), StopFit()
    batch = mnist.train.x[:9], mnist.train.y[:9]
    for error in errors:
        for raiser_first in (True, False):
            log, raiser = Log(), Log(event, error)
            cbs = [raiser, log] if raiser_first else [log, raiser]
            learn = Learner(MLP(784, 10), DataLoaders([batch] * 2, [batch]), cbs=cbs)
            with contextlib.suppress(*map(type, errors)):
                learn.fit(2, lr=0.1)
            assert learn.xb is None and learn.loss is None and not learn.fitting
            for cb in (log, raiser):
                for part in PARTS:
                    failed = cb is raiser and event == f"before_{part}"
                    assert cb.seen.count(f"before_{part}") - failed * cb.seen.count(event) == cb.seen.count(f"cleanup_{part}")


def test_copies_of_keep_finite_take_the_memory_of_one():
    def peak(every):  # what tensors hold at once, in weights: a process holds what its allocator has not given back, too
        model = torch.nn.Linear(300, 300, bias=False)
        batch = torch.randn(4, 300), torch.randn(4, 300)
        learn = Learner(model, DataLoaders([batch] * 9), torch.nn.functional.mse_loss, AdamW, cbs=[KeepFinite(every)])
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
            learn.fit(1, 1e-4)
        events = profiler.profiler.kineto_results.events()
        held = accumulate(event.nbytes() for event in events if event.name() == "[memory]")
        return max(held) / (4 * model.weight.numel())

    assert peak(1) - peak(0) == pytest.approx(3, abs=0.1)  # weights and AdamW's two means


def test_progress_has_a_bar_in_a_notebook():
    code = """
from minibatch_mlp.all import *
batch = load_mnist().train.x[:50], load_mnist().train.y[:50]
Learner(MLP(784, 10), DataLoaders([batch] * 3), cbs=[Progress()]).fit(2, 0.1)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    NotebookClient(notebook, timeout=100).execute(env=environment)
    kinds = [kind for output in notebook.cells[0].outputs for kind in output.get("data", {})]
    assert kinds.count("application/vnd.jupyter.widget-view+json") == 2  # one an epoch
    printed = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert printed.startswith("epoch  train loss  seconds\n    1")


def test_progress_has_a_bar_in_a_terminal_and_none_in_a_file(tmp_path):
    pty, termios = (pytest.importorskip(name, reason="there are no terminals here") for name in ("pty", "termios"))
    program = "\n".join([
        "from minibatch_mlp.all import *",
        "batch = load_mnist().train.x[:50], load_mnist().train.y[:50]",
        "Learner(MLP(784, 10), DataLoaders([batch] * 3), cbs=[Progress()]).fit(1, 0.1)",
    ])  # fmt: skip
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))  # a new one has no columns, and a bar no room
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, stderr=follower)
    assert select.select([leader], [], [], 5)[0], "nothing was written"
    assert "epoch 1" in os.read(leader, 10_000).decode()
    os.close(follower)
    os.close(leader)
    assert not subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stderr


# What careful readers broke

x, y = torch.randn(400, 20, generator=torch.Generator().manual_seed(1)), torch.arange(400) % 4


def small(*cbs, every=20, model=None, data=x, **more):
    torch.manual_seed(1)
    dls = DataLoaders(DataLoader(Dataset(data, y), every, shuffle=True), list(DataLoader(Dataset(x[:100], y[:100]), 30)))
    return Learner(model or MLP(20, 16, 4), dls, cbs=cbs, **more)


def killed(path, lr=0.1, batch=27):
    with contextlib.suppress(KeyboardInterrupt):
        small(Checkpoint(path, every=5, overwrite=True), KillAt(batch)).fit(3, lr)


def test_the_curve_of_a_resumed_run_does_not_run_backwards(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def losses(folder):
        events = EventAccumulator(str(folder))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars("batch_loss")]

    small(TensorBoard(tmp_path / "alone")).fit(3, 0.1)
    path = tmp_path / "a.pt"
    with contextlib.suppress(KeyboardInterrupt):
        small(Checkpoint(path, every=5), TensorBoard(tmp_path / "killed"), KillAt(27)).fit(3, 0.1)
    place = read_checkpoint(path)["place"]
    assert len(losses(tmp_path / "killed")) == 27 and (place["epoch"], place["batch"]) == (2, 5)  # two steps are made again
    resume(small(Checkpoint(path, every=5), TensorBoard(tmp_path / "killed")), path)
    found = losses(tmp_path / "killed")
    assert found == losses(tmp_path / "alone")
    assert [step for step, _ in found] == [*range(1, len(found) + 1)]


def test_a_run_with_other_generators_is_not_resumed_and_can_be_loaded(tmp_path):
    killed(tmp_path / "a.pt")
    learn = small()
    own = DataLoader(Dataset(x, y), 20, shuffle=True, generator=torch.Generator())
    learn.dls = DataLoaders(own, learn.dls.valid)
    before = [p.clone() for p in learn.model.parameters()]
    with pytest.raises(ValueError, match="1 random generators, and this learner has 2 random generators"):
        resume(learn, tmp_path / "a.pt")
    assert_equal_to_the_bit([p.detach() for p in learn.model.parameters()], before)
    load(learn, tmp_path / "a.pt")
    learn.fit(1, 0.1)


def test_a_resume_that_fails_leaves_no_place_behind(tmp_path):
    class FailsOnce(Callback):
        looks_on, failed = True, False

        def before_fit(self, learn):
            if not self.failed:
                self.failed = True
                raise OSError

    killed(tmp_path / "a.pt")
    learn = small(FailsOnce())
    with pytest.raises(OSError):
        resume(learn, tmp_path / "a.pt")
    step = learn.step
    learn.fit(1, 0.1)
    assert learn.step - step == 20


def test_resuming_one_run_does_not_overwrite_another(tmp_path):
    killed(tmp_path / "a.pt")
    killed(tmp_path / "b.pt", lr=0.2)
    with pytest.raises(FileExistsError, match="b.pt holds a fit that was stopped"):
        resume(small(Checkpoint(tmp_path / "b.pt")), tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "b.pt")["place"]["base_lrs"] == [0.2]
    both = Checkpoint(tmp_path / "c.pt"), Checkpoint(tmp_path / "best.pt", monitor="valid_loss")
    with contextlib.suppress(KeyboardInterrupt):
        small(*both, KillAt(45)).fit(3, 0.1)
    resume(small(*both), tmp_path / "c.pt")  # the best of the same run goes on being the best
    assert not read_checkpoint(tmp_path / "best.pt")["place"]["fitting"]


def test_both_files_damaged(tmp_path):
    for name in ("c.pt", "c.pt.previous"):
        (tmp_path / name).write_text("no checkpoint")
    with pytest.raises(ValueError, match="c.pt: not a checkpoint"):
        read_checkpoint(tmp_path / "c.pt")


def test_what_the_last_step_of_an_accumulation_breaks_is_seen():
    batches = [(x[i : i + 20] * 1e3, y[i : i + 20]) for i in (0, 20, 40)]
    learn = Learner(MLP(20, 16, 4), DataLoaders(batches), cbs=[Accumulate(30)])
    with pytest.raises(FloatingPointError, match="a weight became infinite or nan"):
        learn.fit(1, 1e38)
    assert all(p.isfinite().all() for p in learn.model.parameters())


@pytest.mark.parametrize("row", [0, 250])
def test_the_buffers_go_back_with_the_weights(row):
    damaged = x.clone()
    damaged[row, 3] = float("nan")
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(20, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 4))
    batches = list(zip(damaged.split(20), y.split(20)))
    learn = Learner(model, DataLoaders(batches, [(x, y)]), cbs=[KeepFinite(every=5)])
    with pytest.raises(FloatingPointError, match=f"as after step {row // 20 // 5 * 5} of the run"):
        learn.fit(1, 0.1)
    assert model[1].num_batches_tracked == row // 20 // 5 * 5
    assert np.isfinite(learn.validate()["valid_loss"])


def test_callbacks_may_be_given_as_an_iterator():
    learn = small()
    learn.cbs = (cb for cb in [*learn.cbs, TrainMetrics([accuracy])])
    assert [type(cb) for cb in learn.cbs] == [KeepFinite, TrainMetrics]


def test_the_loss_is_not_replaced_by_a_metric_of_its_name():
    def loss(preds, yb):
        return 42.0

    for make in (lambda: small(metrics=[loss]), lambda: TrainMetrics([loss])):
        with pytest.raises(ValueError, match="a metric is called 'loss'"):
            make()
    with pytest.raises(TypeError, match="give a list"):
        TrainMetrics(accuracy)


def test_the_rate_of_an_epoch_without_a_step():
    class Skip(Callback):
        def before_step(self, learn):
            raise SkipStep

    learn = small(Skip(), LearningRateMonitor())
    learn.fit(1, 0.25)
    assert learn.history[0]["lr"] == 0.25 and learn.step == 0


@pytest.mark.parametrize("event, error, counted", [("before_step", SkipStep, 4), ("before_backward", SkipBatch, 3)])
def test_accumulated_gradients_survive_a_skip(event, error, counted):
    class Skip(Callback):
        order = 5

    def skip(self, learn):
        if learn.batch == 2:
            raise error

    setattr(Skip, event, skip)

    class Note(Callback):
        order = 9

        def before_step(self, learn):
            self.gradient = [p.grad.clone() for p in learn.model.parameters()]

    rows = [(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40, 60)]
    note = Note()
    torch.manual_seed(1)
    accumulating = Learner(MLP(20, 4), DataLoaders(rows), cbs=[Accumulate(counted), Skip(), note])
    if error is SkipStep:
        accumulating.cbs = [cb for cb in accumulating.cbs if not isinstance(cb, Accumulate)] + [Accumulate(2)]
    accumulating.fit(1, 0.1)
    kept = rows if error is SkipStep else [rows[0], rows[2], rows[3]]
    torch.manual_seed(1)
    whole = Learner(MLP(20, 4), DataLoaders([tuple(map(torch.cat, zip(*kept)))]), cbs=[other := Note()])
    whole.fit(1, 0.1)
    if error is SkipBatch:  # one step of three batches
        torch.testing.assert_close(note.gradient, other.gradient)
        assert accumulating.step == 1
    else:  # the step of batches 1 and 2 was left out: that of batch 3 is of all three, and batch 4 waits for the end
        assert accumulating.step == 2


def test_gradients_that_the_optimiser_does_not_step_do_not_count_for_the_norm():
    def last_layer(params):
        return SGD(params[-2:])

    plain, clipped = small(opt_func=last_layer), small(ClipGradients(1e9), opt_func=last_layer)
    for learn in (plain, clipped):
        torch.manual_seed(1)
        learn.fit(3, 0.1)
    norm = clip_grad_norm_([p for p in clipped.model.parameters() if p.grad is not None], 1e9)
    assert norm > 1 and optimized_parameters(clipped.opt) == list(clipped.model.parameters())[-2:]
    assert plain.history == clipped.history


def test_another_loss_or_optimiser_is_not_resumed(tmp_path):
    smooth = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    with contextlib.suppress(KeyboardInterrupt):
        small(Checkpoint(tmp_path / "a.pt"), KillAt(27), loss_func=smooth, opt_func=torch.optim.AdamW).fit(3, 0.01)
    for other in ({"loss_func": torch.nn.CrossEntropyLoss(label_smoothing=0.5)}, {"opt_func": torch.optim.Adam}):
        with pytest.raises(ValueError, match="label_smoothing=0.5|AdamW, and this learner has opt_func Adam"):
            resume(small(**{"loss_func": smooth, "opt_func": torch.optim.AdamW, **other}), tmp_path / "a.pt")


def test_predictions_that_cannot_be_joined():
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(5, 8, batch_first=True)

        def forward(self, x):
            return self.rnn(x.unflatten(1, (4, 5)))[1]  # [1, N, 8]

    with pytest.raises(ValueError, match="the model gave 1 rows for 100"):
        small(model=Recurrent()).predict(x, bs=100)
