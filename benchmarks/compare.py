"""Measure every claim about speed and memory, each as a ratio within one interleaved run.

The claims about optimisers, data loader and learner stand in files of their own beside this one, as do other libraries, where
they are installed; all are measured as well.

`python benchmarks/compare.py` runs all of them; `--epochs` sets how many are timed, `--pickle` names a classic mnist.pkl.gz
(without it, one is made from the package's own digits).
"""

import argparse
import gzip
import os
import pickle
import platform
import re
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from minibatch_mlp.backprop import by_hand
from minibatch_mlp.data import Split, load_mnist
from minibatch_mlp.dataloader import DataLoader as OurDataLoader
from minibatch_mlp.dataloader import Dataset
from minibatch_mlp.learner import DataLoaders, Learner, Progress
from minibatch_mlp.loss import cross_entropy
from minibatch_mlp.module import MLP, Linear, ReLU, Sequential
from minibatch_mlp.optim import SGD
from minibatch_mlp.training import by_autograd, train_epoch

BS, LR = 50, 0.5
MLP_TRAIN = ["-c", "from minibatch_mlp.commands import train; train()"]  # of this Python, wherever its scripts are


def torch_mlp(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))


def our_mlp(seed=1):
    torch.manual_seed(seed)
    return MLP(784, 50, 10)


def idiom_steps(model, optimizer, loader):
    "As PyTorch's documentation writes it."
    for xb, yb in loader:
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def idiom_epoch(split):
    model = torch_mlp()
    loader = DataLoader(TensorDataset(*split), batch_size=BS, shuffle=True)
    idiom_steps(model, torch.optim.SGD(model.parameters(), lr=LR), loader)


def our_epoch(split, model, loss_func, order=None, gradients=by_autograd):
    for _ in train_epoch(model, *split, BS, LR, loss_func, order=order, gradients=gradients):
        pass


def new_order(rows=50000):
    return torch.randperm(rows)


class UncheckedLinear(Linear):
    def forward(self, x):
        return x @ self.weight.T + self.bias


def unchecked_cross_entropy(input, target):
    shifted = input - input.detach().amax(dim=1, keepdim=True)
    return (shifted.exp().sum(dim=1, keepdim=True).log() - shifted.gather(1, target.unsqueeze(1))).mean()


def unchecked_epoch(split):
    "The steps of `train_epoch` with our model and loss, without a look at what goes in or comes out."
    torch.manual_seed(1)
    model = Sequential(UncheckedLinear(784, 50), ReLU(), UncheckedLinear(50, 10))
    x, y = split
    parameters = list(model.parameters())
    losses = []
    for start in range(0, len(x), BS):
        rows = slice(start, start + BS)
        loss = unchecked_cross_entropy(model(x[rows]), y[rows])
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p.sub_(p.grad, alpha=LR)
                p.grad = None


def interleaved(reference, others, rounds, clock=time.perf_counter):
    "The time of each function in `others` over that of `reference`: the median of the ratios of all rounds."
    functions = [reference, *others.values()]
    for function in functions:
        function()
    ratios = {name: [] for name in others}
    for i in range(rounds):
        order = functions if i % 2 == 0 else functions[::-1]
        times = {}
        for function in order:
            start = clock()
            function()
            times[function] = clock() - start
        for name, function in others.items():
            ratios[name].append(times[function] / times[reference])
    return {name: median(values) for name, values in ratios.items()}


def show(ratios):
    for name, ratio in ratios.items():
        print(f"{ratio:6.3f}  {name}", flush=True)


def with_one_thread(function):
    def run(*args, **kwargs):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return run


@with_one_thread
def fit_against_idiom(rounds, rows=50000):
    "An epoch of the seed's task, ours over PyTorch's idiom. All but those in fixed order take a new random order."
    train = Split(*(tensor[:rows] for tensor in load_mnist().train))

    def with_learner():
        loader = OurDataLoader(Dataset(*train), BS, shuffle=True)
        with redirect_stdout(StringIO()):
            Learner(our_mlp(), DataLoaders(loader), opt_func=SGD, cbs=[Progress()], gradients=by_hand).fit(1, LR)

    programs = {
        "PyTorch's layers and loss, in fixed order": lambda: our_epoch(train, torch_mlp(), F.cross_entropy),
        "PyTorch's layers and loss, in a new random order": lambda: our_epoch(
            train, torch_mlp(), F.cross_entropy, new_order(rows)
        ),
        "our layers and loss, in fixed order": lambda: our_epoch(train, our_mlp(), cross_entropy),
        "our layers and loss, in a new random order": lambda: our_epoch(train, our_mlp(), cross_entropy, new_order(rows)),
        "with gradients by hand": lambda: our_epoch(train, our_mlp(), cross_entropy, new_order(rows), by_hand),
        "Learner with our loader, history and progress, by hand": with_learner,
    }
    # Each is one thread that never waits: what others do on the machine does not count.
    return interleaved(lambda: idiom_epoch(train), programs | fast_epochs(train), rounds, time.process_time)


def fast_epochs(train):
    "Those of the page on speed, if numba is there."
    try:
        import numba

        from minibatch_mlp.speed import buffered_epoch, compiled_epoch, pack
    except ImportError as error:
        print(f"not measured: {error}")
        return {}
    numba.set_num_threads(1)
    torch.set_num_threads(1)  # again: both use the same OpenMP, and numba's start sets it
    packed = pack(train.x)
    return {
        "memory used again": lambda: buffered_epoch(our_mlp(), *train, BS, LR, new_order(len(train.y))),
        "compiled, zeros skipped": lambda: compiled_epoch(our_mlp(), packed, train.y, BS, LR, new_order(len(train.y))),
    }


@with_one_thread
def checks_against_none(rounds):
    "400 steps with all checks, over 400 without any: short, so that the machine's pace is the same for both."
    train = [tensor[:20000] for tensor in load_mnist().train]
    checked = {"our steps with their checks, over those without": lambda: our_epoch(train, our_mlp(), cross_entropy)}
    return interleaved(lambda: unchecked_epoch(train), checked, rounds)


def write_classic_pickle(path):
    content = tuple((part.x.numpy(), part.y.numpy()) for part in load_mnist())
    with gzip.open(path, "wb", compresslevel=6) as file:
        pickle.dump(content, file, protocol=2)


def classic_load(path):
    "Load the classic file as most lessons do."
    with gzip.open(path, "rb") as file:
        ((x_train, y_train), (x_valid, y_valid), _) = pickle.load(file, encoding="latin-1")
    return [torch.tensor(array) for array in (x_train, y_train, x_valid, y_valid)]


def load_against_pickle(path, rounds=5):
    return interleaved(lambda: classic_load(path), {"load_mnist(), over the classic pickle": load_mnist}, rounds)


def timed_process(arguments, **kwargs):
    "Wall seconds, peak memory in MB and stdout of a process."
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=subprocess.DEVNULL, **kwargs)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with status {process.returncode}")
    return seconds, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2), text


def command_against_parts(path, rounds=5):
    "`mlp_train` over the time of importing torch plus its epochs; its peak memory over that of the classic script."
    time_ratios, memory_ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = str(Path(__file__).with_name("classic_script.py"))
        for _ in range(rounds):
            importing, _, _ = timed_process(["-c", "import torch"], cwd=folder)
            training, memory, text = timed_process(MLP_TRAIN, cwd=folder)
            rows = re.findall(r"^ +\d+ .* (\d+\.\d+)$", text, re.M)
            time_ratios.append(training / (importing + sum(map(float, rows))))
            _, classic_memory, _ = timed_process([script, path], cwd=folder)
            memory_ratios.append(memory / classic_memory)
    return {
        "mlp_train, over `import torch` plus its epochs": median(time_ratios),
        "peak memory of mlp_train, over the classic script": median(memory_ratios),
    }


def command_against_script(path, rounds=5):
    "`mlp_train` from the shell to its files, over a plain script that trains as much by the idiom."
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        script = str(Path(__file__).with_name("idiom_script.py"))
        for _ in range(rounds):
            usual, _, _ = timed_process([script, path], cwd=folder)
            ours, _, _ = timed_process([*MLP_TRAIN, "--overwrite"], cwd=folder)
            ratios.append(ours / usual)
    return {"mlp_train, over a plain script of PyTorch's idiom": median(ratios)}


def import_against_torch(rounds=7):
    "Importing the whole package, over importing torch."
    statement = "from minibatch_mlp.all import *"
    ratios = []
    for _ in range(rounds):
        alone, _, _ = timed_process(["-c", "import torch"])
        package, _, _ = timed_process(["-c", statement])
        ratios.append(package / alone)
    return {f"`{statement}`, over `import torch`": median(ratios)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=7, help="epochs timed of each kind (default 7)")
    parser.add_argument("--pickle", help="a classic mnist.pkl.gz")
    args = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, torch {torch.__version__}, Python {platform.python_version()}")
    print("ratios, medians of interleaved runs; below 1 is faster or smaller")
    with tempfile.TemporaryDirectory() as folder:
        path = args.pickle or os.path.join(folder, "mnist.pkl.gz")
        if not args.pickle:
            code = "import sys, compare; compare.write_classic_pickle(sys.argv[1])"
            subprocess.run([sys.executable, "-c", code, path], check=True, cwd=Path(__file__).parent)
        path = os.path.abspath(path)
        for ratios in (
            command_against_parts(path),  # first: a new process starts with the peak memory of the one it came from
            command_against_script(path),
            import_against_torch(),
            fit_against_idiom(args.epochs),
            checks_against_none(40 * args.epochs),
            load_against_pickle(path),
        ):
            show(ratios)
    for module in ("optim", "dataloader", "learner", "others"):
        import_module(module).main()


if __name__ == "__main__":
    main()
