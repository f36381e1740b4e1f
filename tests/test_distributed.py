"""Training in several processes, as torchrun starts them."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from minibatch_mlp.checkpoint import read_checkpoint
from minibatch_mlp.cli import mlp_train

runs = Path(__file__).with_name('distributed_runs.py')
checks = {'equal': '19 kinds of runs equal', 'buffers': 'buffers', 'odd': 'odd', 'seeds': 'other seeds',
          'fits': 'fits and lr_find', 'finite': 'finite', 'quiet': 'quiet', 'noise': 'noise', 'resume': 'resumed',
          'bad_input': 'bad input'}
pytestmark = pytest.mark.xdist_group('distributed')  # one after the other: each takes both processors


def start(*command, **kwargs):
    "A process that writes into a file: the launcher tells much, and a pipe that nobody reads would stop it once it is full."
    output = tempfile.TemporaryFile('w+')
    run = subprocess.Popen([sys.executable, *map(str, command)], stdout=output, stderr=subprocess.STDOUT,
                           env={**os.environ, 'OMP_NUM_THREADS': '1'}, **kwargs)
    run.output = output
    return run


def said(run, seconds=60):
    "All that it has written, once it has ended."
    run.wait(timeout=seconds)
    run.output.seek(0)
    return run.output.read()


def torchrun(*command, options=(), **kwargs):
    return start('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', *options, *command, **kwargs)


def launch(*args, processes=2, restarts=0, **kwargs): return start(runs, processes, restarts, *args, **kwargs)


def ended(run, seconds=150):
    "What it said."
    try: told = said(run, seconds)
    except subprocess.TimeoutExpired:
        run.terminate()  # torchrun ends its processes
        raise AssertionError(said(run)) from None
    assert run.returncode == 0, told
    return told


@pytest.mark.parametrize('processes', [2, 3])
def test_equal_to_one_process(processes):
    told = ended(launch(*checks, processes=processes))
    for line in checks.values(): assert f'{line}\n' in told, told


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='fewer than two GPUs here')
def test_equal_to_one_process_on_gpus():
    assert 'on GPUs\n' in ended(launch('gpu', processes=torch.cuda.device_count()))


def pids(folder, count):
    "Those of the processes that have begun, once there are so many."
    file, end = folder / 'started', time.monotonic() + 60
    while time.monotonic() < end:
        found = file.read_text().split() if file.exists() else []
        if len(found) >= count: return [int(pid) for pid in found]
        time.sleep(0.02)
    raise AssertionError(f'{count} processes were expected, and {found} have begun')


def is_running(pid):
    try: return 'Z' not in Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except OSError: return False


def test_killed_at_ten_random_moments(tmp_path):
    alone, killed = tmp_path / 'alone', tmp_path / 'killed'
    alone.mkdir()
    killed.mkdir()
    first = launch('train', alone, 40, 0)
    moments = random.Random(1)
    run = launch('train', killed, 40, 0.02, restarts=10)
    for time_around in range(10):
        begun = pids(killed, 2 * (time_around + 1))[-2:]
        time.sleep(moments.uniform(0, 1.2))
        assert run.poll() is None, said(run)
        try: os.kill(moments.choice(begun), signal.SIGKILL)
        except ProcessLookupError: raise AssertionError(ended(run)) from None
    ended(run)
    ended(first)
    (history, weights), (expected, expected_weights) = (torch.load(folder / 'end.pt') for folder in (killed, alone))
    assert history == expected
    assert all(torch.equal(weights[name], expected_weights[name]) for name in expected_weights)
    assert not any(is_running(pid) for pid in pids(killed, 22))
    assert sorted(file.name for file in killed.iterdir()) == ['end.pt', 'run.pt', 'run.pt.previous', 'started']


def test_who_waits_for_a_process_that_does_not_go_on_gives_up(tmp_path):
    run = torchrun(runs, 'train', tmp_path, 1000, 0.01)
    stopped = pids(tmp_path, 2)[0]
    while not (tmp_path / 'run.pt').exists(): time.sleep(0.05)
    os.kill(stopped, signal.SIGSTOP)
    other, begin = pids(tmp_path, 2)[1], time.monotonic()
    while is_running(other): time.sleep(0.1)
    waited = time.monotonic() - begin
    os.kill(stopped, signal.SIGKILL)
    told = said(run)
    assert waited < 20, f'{waited} s\n{told}'  # `train` says 10
    assert run.returncode and 'timed out' in told.lower(), told


settings = '--epochs', 2, '--bs', 500, '--shift', 2, '--checkpoint-every', 5, '--out'


def test_mlp_train_is_killed_and_goes_on(tmp_path):
    for out in ('once', 'stopped'): (tmp_path / out).mkdir()
    (tmp_path / 'once' / 'weights.safetensors').write_text('of a finished run')
    run = launch('mlp_train', *settings, 'once', restarts=2, cwd=tmp_path)
    checkpoint = tmp_path / 'once-2' / 'checkpoint.pt'
    place, copy = {'epoch': 0}, tmp_path / 'stopped' / 'checkpoint.pt'
    while place['epoch'] < 2:
        assert run.poll() is None, said(run)
        time.sleep(0.02)
        try: shutil.copy(checkpoint, copy)
        except FileNotFoundError: continue  # not yet there, or between two renames
        place = read_checkpoint(copy)['place']
    os.kill(pids(tmp_path, 2)[-1], signal.SIGKILL)
    told = ended(run)
    assert told.count('test accuracy') == 1 and 'once holds a finished run' in told, told

    ended(launch('mlp_train', *settings, 'alone', cwd=tmp_path))
    for name in ('weights.safetensors', 'history.csv'):
        assert (tmp_path / 'once-2' / name).read_bytes() == (tmp_path / 'alone' / name).read_bytes()

    # One process without torchrun trains the same, but for the rounding of float32.
    mlp_train(epochs=2, bs=500, shift=2, out=tmp_path / 'single')
    found, expected = (np.loadtxt(tmp_path / out / 'history.csv', delimiter=',', skiprows=1) for out in ('alone', 'single'))
    np.testing.assert_allclose(found, expected, atol=2e-3)

    # What another launch has left is not gone on with, however often the processes are started again.
    refused = launch('mlp_train', *settings, 'stopped', restarts=1, cwd=tmp_path)
    told = said(refused)
    assert refused.returncode and 'stopped holds an unfinished run' in told, told
    assert read_checkpoint(copy)['place'] == place
