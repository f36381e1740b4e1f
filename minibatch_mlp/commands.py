"""What the shell calls. It is there before anything is imported, so it can say how."""

import gc
from types import ModuleType


def _cli() -> ModuleType:
    "The module of both commands. Python looks for garbage neither while it is imported nor in what came with it."
    gc.disable()
    from . import cli

    gc.freeze()
    gc.enable()
    return cli


def train() -> None:
    _cli()._train_command()


def predict() -> None:
    _cli()._predict_command()
