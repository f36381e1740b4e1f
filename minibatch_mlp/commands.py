"""What the shell calls. It is there before anything is imported, so it can say how."""

import gc
import sys
from types import ModuleType


def _cli(command: str) -> ModuleType:
    "The module of both commands, imported without a search for garbage."
    gc.disable()
    try:
        from . import cli
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        sys.exit(130)
    gc.freeze()  # later searches leave out what came with it
    gc.enable()
    return cli


def train() -> None:
    _cli("mlp_train")._train_command()


def predict() -> None:
    _cli("mlp_predict")._predict_command()
