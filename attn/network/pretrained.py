"""torchvision's ImageNet weights as a start, on request: backbone.pretrained=true."""

import pickle
from pathlib import Path

import torch
import torchvision

from attn.config.schema import Config
from attn.errors import DataError


def weights(config: Config) -> dict | None:
    """Returns the backbone's state_dict, fetched once; None where the configuration asks for none.

    Raises DataError where the state_dict cannot be fetched or read, with the place for a copy.
    """
    if not config.backbone.get("pretrained"):
        return None
    chosen = torchvision.models.get_model_weights(config.backbone["name"]).DEFAULT
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
    try:
        return chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if place.exists():
            raise DataError(
                f"backbone.pretrained=true: {place} is damaged; delete it, or bring a whole copy"
            ) from None
        raise DataError(
            f"backbone.pretrained=true: {chosen.url} could not be fetched ({error}). "
            f"Put a copy at {place}, or leave pretrained=false."
        ) from None


def describe(network: torch.nn.Module, weights: dict) -> str:
    """Describes how a network began: with the weights, but for the tensors that were drawn.

    The description names the tensors that were drawn.
    """
    own = network.state_dict()
    drawn = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    stem = f"{network.stem_name}.weight"
    kept = stem in weights and weights[stem].shape[2:] == own[stem].shape[2:]
    if kept and stem in drawn:
        drawn[drawn.index(stem)] = f"{stem} beyond RGB"
    return f"begins with torchvision's ImageNet weights; drawn anew: {', '.join(drawn)}"
