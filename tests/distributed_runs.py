"""Started from test_distributed.py: checks train in all processes together and in each alone, and compare.

`distributed_runs.py PROCESSES RESTARTS NAME ...` runs them under the launcher of torchrun, which forks its processes here from
one that has imported PyTorch: there are many, and most of their time would be that import. torchrun itself runs NAME ..."""

import multiprocessing
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.testing import assert_close

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.batch_size import NoiseScale, bs_find
from minibatch_mlp.callbacks import (
    Accumulate,
    ClipGradients,
    EarlyStopping,
    LearningRateMonitor,
    ShiftImages,
    ToDevice,
    TrainMetrics,
    lr_find,
)
from minibatch_mlp.checkpoint import Checkpoint, read_checkpoint, resume
from minibatch_mlp.cli import _train_command
from minibatch_mlp.dataloader import BatchSampler, DataLoader, Dataset, RandomSampler
from minibatch_mlp.distributed import Distributed, DistributedBatchSampler, first_decides, is_under_way
from minibatch_mlp.learner import Callback, DataLoaders, KeepFinite, Learner, Schedule
from minibatch_mlp.module import MLP
from minibatch_mlp.optim import SGD, AdamW, cosine_lr
from minibatch_mlp.training import accuracy, by_autograd

ROWS, BS = 203, 20  # ten batches and one of 3 rows
generator = torch.Generator().manual_seed(0)
x = torch.rand(ROWS, 16, generator=generator, dtype=torch.float64)
y = torch.randint(0, 3, (ROWS,), generator=generator)


class MacroF1:
    def reset(self): self.preds, self.y = [], []

    def update(self, preds, yb):
        self.preds.append(preds.argmax(1))
        self.y.append(yb)

    def compute(self):
        preds, y = torch.cat(self.preds), torch.cat(self.y)
        scores = [2 * ((preds == c) & (y == c)).sum() / ((preds == c).sum() + (y == c).sum()).clamp(min=1) for c in range(3)]
        return sum(scores) / 3


def ours(): return MLP(16, 12, 3).to(torch.float64)
def layers(): return nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).double()
def theirs(): return nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)).to(torch.float64)


def loaders(kind='ours', bs=BS, **kwargs):
    valid = DataLoader(Dataset(x[:51], y[:51]), 25)  # the last batch has a single row
    if kind == 'ours': return DataLoaders(DataLoader(Dataset(x, y), bs, shuffle=True, **kwargs), valid)
    if kind == 'list': return DataLoaders(list(zip(x.split(bs), y.split(bs))), [(x[:51], y[:51])])
    if kind == 'torch':
        data = torch.utils.data.TensorDataset(x, y)
        return DataLoaders(torch.utils.data.DataLoader(data, bs, shuffle=True), torch.utils.data.DataLoader(data, 50))
    return DataLoaders(DataLoader(Dataset(x, y), bs, shuffle=True))  # without a validation set


momentum = partial(SGD, momentum=0.9)


def learner(*cbs, model=ours, kind='ours', opt_func=momentum, gradients=by_autograd, seed=1, **kwargs):
    torch.manual_seed(seed)
    return Learner(model(), loaders(kind, **kwargs), opt_func=opt_func, metrics={'accuracy': accuracy, 'f1': MacroF1()},
                   cbs=cbs, gradients=gradients)


def assert_equal(learn, other, eps=1e-12):
    assert len(learn.history) == len(other.history) > 0
    for row, expected in zip(learn.history, other.history):
        assert row.keys() == expected.keys()
        for name in row: assert abs(row[name] - expected[name]) < eps, (name, row[name], expected[name])
    for p, expected in zip(learn.model.parameters(), other.model.parameters()): assert_close(p, expected, atol=eps, rtol=0)
    assert learn.step == other.step


def check_equal():
    "History and weights are those of one process, whatever else is there."
    cases = {
        'plain': {},
        'by hand': {'gradients': by_hand},
        'theirs': {'model': theirs},
        'theirs by hand': {'model': layers, 'gradients': by_hand},
        'list': {'kind': 'list'},
        'their loader': {'kind': 'torch'},
        'no validation': {'kind': 'none'},
        'adamw': {'opt_func': AdamW},
        'their adamw': {'model': theirs, 'opt_func': torch.optim.AdamW},
        'short batches': {'bs': dist.get_world_size() + 4},
        'workers': {'num_workers': 1},
        'generator': {},
        'accumulate': {'cbs': [Accumulate(3)]},
        'accumulate and clip': {'cbs': [Accumulate(2), ClipGradients(0.01)], 'gradients': by_hand},
        'clip': {'cbs': [ClipGradients(0.01)]},
        'shift': {'cbs': [ShiftImages(1)]},
        'schedule': {'cbs': [Schedule(cosine_lr)]},
        'columns': {'cbs': [TrainMetrics([accuracy]), LearningRateMonitor(), ToDevice('cpu'), KeepFinite(3)]},
        'early stopping': {'cbs': [EarlyStopping('valid_f1', 1, better='max')]},
    }
    for name, case in cases.items():
        cbs, rate = case.pop('cbs', []), 0.01 if 'adamw' in name else 0.3
        def made(*more, name=name, case=case, cbs=cbs):
            own = {'generator': torch.Generator().manual_seed(5)} if name == 'generator' else {}
            return learner(*more, *cbs, **case, **own)
        alone = made()
        alone.fit(3, rate)
        together = made(Distributed())
        dls = together.dls
        together.fit(3, rate)
        assert together.dls.train is dls.train, name
        try: assert_equal(together, alone)
        except AssertionError as error: raise AssertionError(f'{name}: {error}') from None
        assert_equal_everywhere(together)
        measured, expected = together.validate(), alone.validate()
        for key in expected: assert abs(measured[key] - expected[key]) < 1e-12, (name, key)
        assert_close(together.predict(x[:7]), alone.predict(x[:7]))
    print_once(f'{len(cases)} kinds of runs equal')


def assert_equal_everywhere(learn):
    for tensor in (*learn.model.parameters(), *learn.model.buffers()):
        first = tensor.detach().clone()
        dist.broadcast(first, src=0)
        assert torch.equal(first, tensor)


def check_buffers():
    "BatchNorm computes with its own rows, and all processes have the running means of the first."
    def normalising(): return nn.Sequential(nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3)).double()
    again = assert_resumed_to_the_bit(lambda *cbs: learner(*cbs, model=normalising, drop_last=True))
    measured = [None] * dist.get_world_size()
    dist.all_gather_object(measured, again.validate())
    assert all(row == measured[0] for row in measured)
    assert_equal_everywhere(again)
    print_once('buffers')


class LookWithin(Callback):
    "Validates on the training data in the middle of an epoch."
    def after_batch(self, learn):
        if learn.batch == 3: self.measured = learn.validate(learn.dls.train)


class SometimesUnused(nn.Module):
    "Uses a layer in one process only."
    def __init__(self):
        super().__init__()
        self.used, self.unused, self.never = nn.Linear(16, 3), nn.Linear(16, 3), nn.Linear(2, 2)

    def forward(self, x):
        x = x.view(len(x), -1)  # which fails for no rows
        return self.used(x) + (self.unused(x) if dist.get_rank() == 0 else 0)


def check_odd():
    "Looks within an epoch, random numbers for each row, gradients that only one process has."
    alone, together = LookWithin(), LookWithin()
    for cbs in ([alone], [together, Distributed()]): learner(*cbs).fit(1, 0.1)
    for name, value in alone.measured.items(): assert abs(together.measured[name] - value) < 1e-12, name

    def dropping(): return nn.Sequential(nn.Linear(16, 12), nn.Dropout(), nn.Linear(12, 3)).double()
    assert_resumed_to_the_bit(lambda *cbs: learner(*cbs, model=dropping, bs=19))  # an odd number of rows

    odd = learner(Distributed(), model=lambda: SometimesUnused().double(), opt_func=AdamW)
    before = odd.model.never.weight.detach().clone()
    odd.fit(2, 0.01)
    assert_equal_everywhere(odd)
    assert torch.equal(odd.model.never.weight, before)  # no decay without a gradient
    print_once('odd')


def stopped_within_an_epoch(make):
    "A run that was left alone, and the checkpoint of another that was stopped."
    path = Path(first_decides(tempfile.mkdtemp)) / 'run.pt'
    left_alone = make(Distributed())
    left_alone.fit(3, 0.3)
    stopped = make(Distributed(), Checkpoint(path, every=4), StopAt(2, 9))
    try: stopped.fit(3, 0.3)
    except KeyboardInterrupt: pass
    dist.barrier()
    return left_alone, path


def assert_resumed_to_the_bit(make):
    left_alone, path = stopped_within_an_epoch(make)
    again = make(Distributed())
    resume(again, path)
    assert_equal(again, left_alone, eps=1e-300)
    assert_equal_everywhere(again)
    return again


def check_seeds():
    "The first process's weights and random numbers are taken, whatever seed the others have."
    rank = dist.get_rank()
    alone = learner(ShiftImages(1))
    alone.fit(2, 0.3)
    together = learner(Distributed(), ShiftImages(1), seed=1 + rank)
    together.fit(2, 0.3)
    assert_equal(together, alone)
    print_once('other seeds')


def check_fits():
    "A second fit, callbacks for one fit, and a look on the side."
    def fitted(*cbs):
        learn = learner(*cbs)
        learn.fit(1, 0.3)
        learn.fit(2, 0.1, cbs=[ClipGradients(0.02)])
        return learn, lr_find(learn, 1e-3, 10, 30)
    (alone, expected), (together, found) = fitted(), fitted(Distributed())
    assert_equal(together, alone)
    assert len(found.losses) == len(expected.losses)
    assert_close(found.losses, expected.losses, atol=1e-12, rtol=0)
    print_once('fits and lr_find')


class StopAt(Callback):
    order = 100
    def __init__(self, epoch, batch): self.at = epoch, batch

    def after_batch(self, learn):
        if (learn.epoch, learn.batch) == self.at: raise KeyboardInterrupt


def check_noise():
    "The noise scale is that of one process: its gradients are of whole batches."
    for kind in ('ours', 'list'):
        found, expected = (bs_find(learner(*cbs, kind=kind), 11).noise for cbs in ([Distributed()], []))
        assert_close(torch.tensor([found.signal, found.spread]), torch.tensor([expected.signal, expected.spread]),
                     atol=1e-10, rtol=1e-10)
    scales = []
    for cbs in ([], [Distributed()]):
        learn = learner(NoiseScale(batches=5), *cbs)
        learn.fit(2, 0.1)
        scales.append(torch.tensor([row['noise_scale'] for row in learn.history], dtype=torch.float64))
    assert_close(*scales, atol=0, rtol=1e-9)
    assert_equal_everywhere(learn)
    print_once('noise')


def check_resume():
    "From the middle of an epoch, by as many processes, and by one alone."
    cbs = [Accumulate(2), TrainMetrics([accuracy]), ShiftImages(1)]
    for kind in ('ours', 'generator'):
        def make(*more, kind=kind):
            case = {'generator': torch.Generator().manual_seed(5)} if kind == 'generator' else {}
            return learner(*more, *cbs, **case)
        left_alone, path = stopped_within_an_epoch(make)
        state = read_checkpoint(path)
        assert (state['place']['epoch'], state['place']['batch']) == (2, 8)
        single = make()
        resume(single, path)
        assert_equal(single, left_alone)
        if kind == 'generator' and dist.get_rank() == 0: os.replace(path, f'{path}.previous')  # killed between two renames
        dist.barrier()
        again = make(Distributed(), Checkpoint(path, every=4))
        resume(again, path)
        assert_equal(again, left_alone, eps=1e-300)
        assert_equal_everywhere(again)
        assert {file.name for file in path.parent.iterdir()} >= {path.name, f'{path.name}.previous'}
        assert not list(path.parent.glob('.*'))
    print_once('resumed')


def check_finite():
    "One bad row in the share of one process stops all of them at once."
    bad = x.clone()
    bad[0] = torch.nan
    for which in range(2):
        torch.manual_seed(1)
        second = bad[:40] if which == 0 else bad[:40].flip(0)
        learn = Learner(ours(), DataLoaders([(x[:40], y[:40]), (second, y[:40])]), cbs=[Distributed()])
        before = [p.detach().clone() for p in learn.model.parameters()]
        try: learn.fit(1, 0.3)
        except FloatingPointError as error: assert 'the loss became nan in batch 2 of epoch 1' in str(error), error
        else: raise AssertionError('nothing was raised')
        for p, old in zip(learn.model.parameters(), before): assert_close(p, old)
    print_once('finite')


def check_quiet():
    "What prints and saves is told by the first process only."
    told = []
    class Writer(Callback):
        writes = True
        def before_fit(self, learn): told.append('fit')
        def after_batch(self, learn): told.append('batch')
        def cleanup_fit(self, learn): told.append('clean')
    learner(Distributed(), Writer()).fit(1, 0.1)
    assert told == (['fit', *['batch'] * 11, 'clean'] if dist.get_rank() == 0 else []), told
    print_once('quiet')


def raises(kind, text, function):
    try: function()
    except kind as error: assert text in str(error), error
    else: raise AssertionError(f'no {kind.__name__} with {text!r}')


def check_bad_input():
    rank, world_size = dist.get_rank(), dist.get_world_size()
    raises(ValueError, 'cannot share', lambda: learner(Distributed(), bs=1).fit(1, 0.1))
    raises(ValueError, 'so few rows as 1', lambda: learner(Distributed(), bs=101).fit(1, 0.1))
    raises(ValueError, 'cannot share', lambda: learner(Distributed(), bs=1, kind='list').fit(1, 0.1))
    learner(Distributed(), bs=101, drop_last=True).fit(1, 0.1)
    raises(ValueError, 'the processes differ in the learning rates', lambda: learner(Distributed()).fit(1, 0.1 + rank))
    raises(ValueError, 'the processes differ in the last epoch', lambda: learner(Distributed()).fit(1 + rank, 0.1))
    clipped = learner(Distributed(), ClipGradients(1. + rank))
    raises(ValueError, 'the processes differ in the settings', lambda: clipped.fit(1, 0.1))
    def other_data():
        learn = learner(Distributed())
        learn.dls = DataLoaders(DataLoader(Dataset(x + 1e-9 * rank, y), BS))
        learn.fit(1, 0.1)
    raises(ValueError, 'the processes differ in the training data', other_data)
    wider = learner(Distributed(), model=lambda: MLP(16, 12 + rank, 3).to(torch.float64))
    raises(ValueError, 'the processes differ in the model', lambda: wider.fit(1, 0.1))
    wrapped = learner(Distributed(), model=lambda: nn.parallel.DistributedDataParallel(theirs()))
    raises(TypeError, 'DistributedDataParallel', lambda: wrapped.fit(1, 0.1))
    own = tempfile.mkdtemp()  # a folder of its own for each process
    raises(FileNotFoundError, 'does not see', lambda: learner(Distributed(), Checkpoint(f'{own}/a.pt')).fit(1, 0.1))
    raises(ValueError, "backend is 'mpi', and this PyTorch has", lambda: _check('mpi'))
    def dealt_twice():
        sampler = DistributedBatchSampler(BatchSampler(RandomSampler(x), 20), rank, world_size)
        learn = learner(Distributed())
        learn.dls = DataLoaders(DataLoader(Dataset(x, y), batch_sampler=sampler))
        learn.fit(1, 0.1)
    raises(TypeError, 'shared already', dealt_twice)
    folder = first_decides(tempfile.mkdtemp)
    waiting = learner(Distributed(), Accumulate(2), Checkpoint(f'{folder}/b.pt', every=3))
    raises(ValueError, 'that wait for a step', lambda: waiting.fit(1, 0.1))
    print_once('bad input')


def _check(backend):
    from minibatch_mlp.distributed import _check_backend
    _check_backend(backend)


def check_gpu():
    "On a GPU for each process, with nccl."
    alone = learner(ToDevice('cuda'), TrainMetrics([accuracy]), gradients=by_hand)
    alone.fit(3, 0.3)
    together = learner(Distributed(), ToDevice('cuda'), TrainMetrics([accuracy]), gradients=by_hand)
    together.fit(3, 0.3)
    assert next(together.model.parameters()).device.index == int(os.environ['LOCAL_RANK'])
    assert_equal(together, alone, eps=1e-10)
    assert_equal_everywhere(together)
    print_once('on GPUs')


def print_once(text):
    dist.barrier()
    if dist.get_rank() == 0: print(text, flush=True)


class Wait(Callback):
    "Makes batches slow enough to be killed in."
    looks_on = True
    def __init__(self, seconds): self.seconds = seconds
    def after_batch(self, learn): time.sleep(self.seconds)


def train(folder, epochs, seconds):
    "A run that goes on where it was, if it was killed; the weights and the history are the last that it writes."
    path = Path(folder) / 'run.pt'
    note_start(folder)
    cbs = [Accumulate(2), ShiftImages(1), TrainMetrics([accuracy]), Wait(seconds), Checkpoint(path, every=2)]
    learn = learner(Distributed(timeout=10), *cbs)
    if is_under_way(path): resume(learn, path)  # the file itself may be missing, if a kill came between two renames
    else: learn.fit(epochs, 0.05)
    if dist.get_rank() == 0: torch.save([learn.history, learn.model.state_dict()], Path(folder) / 'end.pt')


def note_start(folder):
    with (Path(folder) / 'started').open('a') as file: file.write(f'{os.getpid()}\n')


def mlp_train(*args):
    note_start('.')
    sys.argv = ['mlp_train', *args]
    _train_command()


def run(name, *args):
    torch.set_num_threads(1)
    if name == 'mlp_train': return mlp_train(*args)
    if name == 'train': return train(args[0], int(args[1]), float(args[2]))
    Distributed(timeout=60)
    for check in (name, *args): globals()[f'check_{check}']()


def launch(processes, restarts, *args):
    multiprocessing.set_forkserver_preload(['minibatch_mlp.cli', 'minibatch_mlp.distributed'])
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=restarts, start_method='forkserver',
                          run_id='tests', rdzv_backend='c10d', rdzv_endpoint='localhost:0')
    elastic_launch(config, run)(*args)


if __name__ == '__main__':
    if 'RANK' in os.environ: run(*sys.argv[1:])
    else: launch(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
