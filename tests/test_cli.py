"The command in a process of its own: interrupted, killed and gone on with."

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from PIL import Image, ImageDraw

from minibatch_mlp.draw import DrawDigit, load_mlp

pytestmark = pytest.mark.xdist_group("commands")  # one run is compared with several

# What is started in the background of a shell ignores SIGINT.
PROGRAM = ("from signal import SIGINT, default_int_handler, signal; signal(SIGINT, default_int_handler); "
           "from minibatch_mlp.cli import _train_command; print('ready', flush=True); _train_command()")
SETTINGS = ("--epochs 3 --hidden 16,8 --bs 500 --opt adamw --schedule one-cycle --lr 0.01 --shift 1 --patience 5 "
            "--checkpoint-every 7").split()
FILES = "weights.safetensors", "history.csv", "results.png", "draw.html"


def started(folder, *arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            start_new_session=True)


def finished(folder, *arguments):
    process = started(folder, *arguments)
    output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    return output


def wait_for_line(process, beginning):
    for line in process.stdout:
        if line.lstrip().startswith(beginning):
            return
    raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    "The folder of a run that nobody disturbs."
    folder = tmp_path_factory.mktemp("alone")
    output = finished(folder, *SETTINGS, "--out", "run")
    assert len(output.splitlines()) == 8  # ready, four lines of a table, three of results: no bar, as there is no terminal
    return folder / "run"


def assert_same_files(folder, alone):
    for name in FILES:
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name


def test_killed_and_resumed_to_the_same_bytes(tmp_path, alone):
    victim = started(tmp_path, *SETTINGS, "--workers", "1", "--out", "run")
    wait_for_line(victim, "1 ")
    os.killpg(victim.pid, signal.SIGKILL)  # the worker as well
    victim.communicate(timeout=60)
    assert not (tmp_path / "run" / "weights.safetensors").exists()

    again = started(tmp_path, *SETTINGS, "--out", "run")
    output, errors = again.communicate(timeout=60)
    assert (again.returncode, errors.count("\n")) == (1, 1)
    assert '"mlp_train --resume --out run" goes on with it, "mlp_train --overwrite --out run" starts over' in errors

    finished(tmp_path, "--resume", "--lr", "0.01", "--out", "run")
    assert_same_files(tmp_path / "run", alone)


def test_killed_when_the_fit_was_over(tmp_path, alone):
    shutil.copytree(alone, tmp_path / "run")
    for name in FILES[1:]:
        (tmp_path / "run" / name).unlink()
    output = finished(tmp_path, "--resume", "--out", "run")
    assert "\nthe run in run is finished, its last epoch was 3: its files are written again. More --epochs" in output
    assert_same_files(tmp_path / "run", alone)


@pytest.mark.parametrize("workers", [0, 1])
def test_interrupted(tmp_path, alone, workers):
    process = started(tmp_path, *SETTINGS, "--epochs", "1000", "--workers", str(workers), "--out", "run")
    wait_for_line(process, "1 ")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (130, 1), errors
    ways = '"mlp_train --resume --out run" goes on, "mlp_train --overwrite --out run" starts over'
    assert f"saved what was trained, {ways}" in errors and "saved run" in output
    assert load_mlp(tmp_path / "run" / "weights.safetensors")[1]["results"]["test_accuracy"] > 0.2
    assert {*os.listdir(tmp_path / "run")} == {*FILES, ".lock", "checkpoint.pt", "checkpoint.pt.previous"}
    assert torch.load(tmp_path / "run" / "checkpoint.pt")["place"]["fitting"]


@pytest.mark.parametrize("seconds", [0.001, 0.1, 0.3])
def test_interrupted_in_the_first_seconds(tmp_path, seconds):
    program = ("from signal import *; from minibatch_mlp.cli import _train_command; signal(SIGALRM, default_int_handler); "
               f"setitimer(ITIMER_REAL, {seconds}); _train_command()")
    done = subprocess.run([sys.executable, "-c", program, "--epochs", "1000"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (130, 1), done.stderr
    assert done.stderr.startswith("mlp_train: interrupted")


@pytest.mark.parametrize("command", ["train", "predict"])
def test_interrupted_while_modules_are_imported(command):
    program = ("from signal import *; from minibatch_mlp import commands; signal(SIGALRM, default_int_handler); "
               f"setitimer(ITIMER_REAL, 0.1); commands.{command}()")
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"mlp_{command}: interrupted\n")


def test_nobody_reads_the_output(tmp_path):
    process = started(tmp_path, "--epochs", "3", "--hidden", "8", "--out", "run")
    wait_for_line(process, "epoch")
    process.stdout.close()
    assert process.stderr.read() == "mlp_train: nobody reads the output any more\n"
    assert process.wait(60) == 1
    assert load_mlp(tmp_path / "run" / "weights.safetensors")[1]["results"]["epochs_done"] >= 1


def test_predict_before_any_training(tmp_path):
    picture = Image.new("L", (90, 90))
    ImageDraw.Draw(picture).text((30, 15), "7", 255, font_size=60)
    picture.save(tmp_path / "seven.png")
    program = "from minibatch_mlp.cli import _predict_command; _predict_command()"

    def predict(*arguments):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    assert predict("seven.png") == (0, "seven.png: 7\n", "")
    told = 'mlp_predict: run/w.safetensors holds weights, and is not a picture: give it as "--weights run/w.safetensors"\n'
    assert predict("run/w.safetensors", "seven.png") == (1, "", told)
    DrawDigit().save(tmp_path / "draw.html")
    assert (tmp_path / "draw.html").stat().st_size > 400_000
