"""What the shell calls. It is there before anything is imported, so it can say how."""

import gc
from types import ModuleType


def _cli() -> ModuleType:
    "The module of both commands, imported without a search for garbage."
    gc.disable()
    from . import cli

    gc.freeze()  # later searches leave out what came with it
    gc.enable()
    return cli


def train() -> None:
    _cli()._train_command()


def predict() -> None:
    _cli()._predict_command()
