"""Channel attention on CIFAR-10: mechanisms, backbones, training and evidence.

attn.build("backbone=resnet20", "attention=se")      a network, by the words of train.py
attn.load_run("runs/NAME")                           a trained network with its test images
attn.record(network)                                 its scores, for as long as a block lasts
attn.MECHANISMS, attn.BACKBONES                      their classes, by name
"""

import importlib
import os

# Strict runs need the first; with less than a connection each, streams wait for one another (CUDA's
# default is 8). Both are read once, as a GPU is first asked for.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")

__all__ = ["BACKBONES", "MECHANISMS", "build", "load_run", "record"]
HOMES = {
    "BACKBONES": "attn.backbones",
    "MECHANISMS": "attn.modules",
    "load_run": "attn.runs.load",
    "record": "attn.network.scores",
}


def __getattr__(name: str):
    """Imports a name's module as the name is asked for.

    Importing torch takes seconds, and `import attn` alone takes none.
    """
    if name not in HOMES:
        raise AttributeError(f"attn has no {name}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(HOMES[name]), name)


def build(*words: str, seed: int = 0):
    """Builds the network of the words that train.py takes, such as "backbone=resnet20".

    Returns a torch module, (B, C, S, S) -> (B, 10), untrained. Raises UserError where a word is
    wrong, with the choices.
    """
    from attn.config.check import check
    from attn.config.cli import register
    from attn.config.sweep import check_single, composed
    from attn.config.values import check_noise
    from attn.config.words import check_words
    from attn.network import pretrained
    from attn.network.build import build

    register()
    check_words(list(words))
    check_single(list(words))
    cfg = composed(list(words))
    check_noise(cfg.data.noise)
    made = check(cfg)
    return build(made, seed, weights=pretrained.weights(made))
