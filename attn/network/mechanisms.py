"""The catalogue: each mechanism's paper, place, cost in every backbone, and its score's meaning."""

import inspect
import re
import sys

import pandas as pd
import yaml

from attn.backbones import BACKBONES
from attn.config import catalogue
from attn.config.schema import arguments
from attn.modules import MECHANISMS
from attn.names import CONTROLS
from attn.network.build import multiply_adds
from attn.network.place import attach
from attn.network.seams import CannotStand

SIZE = 32  # of the images, in the networks' form for them
GOLDEN = catalogue.CONFIGS.parent / "attn" / "modules" / "golden.yaml"


def show(names: list[str], as_text):
    """Prints a description of each named mechanism, or of all, and then tables of their costs.

    as_text(frame): a table as it is printed.
    """
    unknown = set(names) - set(MECHANISMS)
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: choose some of {', '.join(MECHANISMS)}")
    for name in names or MECHANISMS:
        print(describe(name))
    for quantity, frame in costs(names or list(MECHANISMS)).items():
        print(f"{quantity} at the mechanism's own place, 10 classes, {SIZE} x {SIZE}, cifar stem\n")
        print(as_text(frame))


def describe(name: str) -> str:
    """Describes a mechanism in a few lines.

    The lines give paper, equation, place, numbers, score and authors' counts.
    """
    kind, values = MECHANISMS[name], catalogue.read("attention", name)
    none = "a control, of no paper" if name in CONTROLS else "its file names no paper"
    paper = re.search(r"arXiv:[\d.]+\d|PMLR \d+", sys.modules[kind.__module__].__doc__ or "")
    equation = inspect.getdoc(kind).partition("\n\n")[0]
    score = re.search(r"Scores?: (.*?)(?=\s+Raises|\Z)", inspect.getdoc(kind), re.DOTALL)
    numbers = ", ".join(f"{k}={v}" for k, v in arguments(values).items()) or "none"
    lines = [
        f"{name}  ({paper[0] if paper else none})",
        f"  {' '.join(equation.split())}",
        f"  stands at  {kind.seam}; own place: {_place(values)}; may stand {_may_stand(kind)}",
        f"  numbers    {numbers}",
        f"  score      {' '.join(score[1].split()) if score else 'its docstring does not say'}",
    ]
    for golden in yaml.safe_load(GOLDEN.read_text()):
        if golden.get("mechanism") == name:
            lines.append(f"  authors    {_golden(golden)}")
    return "\n".join(lines) + "\n"


def _place(values: dict) -> str:
    stages = values.get("stages", "all")
    return values.get("location", "none") + ("" if stages == "all" else f", stages {stages}")


def _may_stand(kind) -> str:
    return "inside blocks only" if kind.seam == "conv" else "at first, last, per_block, per_stage"


def _golden(golden: dict) -> str:
    words = {**golden.get("options", {}), **golden.get("numbers", {})}
    words |= {k: golden[k] for k in ("location", "stages") if k in golden}
    said = "".join(f", {key}={value}" for key, value in words.items())
    classes, source = golden.get("classes", 1000), golden.get("source", "their code")
    return f"{golden['parameters']:,} in {golden['backbone']}, {classes} classes{said} ({source})"


def costs(names: list[str]) -> dict:
    """Returns {quantity: a frame with a row a mechanism and a column a backbone}.

    The cells of a frame are text.
    """
    plain = {backbone: _count(_network(backbone)) for backbone in BACKBONES}
    added = {(n, b): _added(n, b, plain[b]) for n in names for b in BACKBONES}
    return {
        quantity: pd.DataFrame(
            [{"mechanism": n, **{b: added[n, b][i] for b in BACKBONES}} for n in names]
        )
        for i, quantity in enumerate(("parameters", "multiply-adds, millions", "hidden widths"))
    }


def _network(backbone: str):
    kind = BACKBONES[backbone]
    options = {"stem": "cifar"} if "stem" in inspect.signature(kind).parameters else {}
    return kind(num_classes=10, **options)


def _count(network) -> tuple[int, int]:
    return sum(p.numel() for p in network.parameters()), multiply_adds(network, 3, SIZE)


def _added(name: str, backbone: str, plain: tuple) -> tuple[str, str, str]:
    values, network = catalogue.read("attention", name), _network(backbone)
    numbers, stages = arguments(values), values.get("stages", "all")
    if "location" not in values:
        return "no place", "no place", "no place"

    def make(form, index, what):
        return form(what, **numbers)

    try:
        attach(network, values["location"], name, stages, make)
    except CannotStand:
        return "cannot", "cannot", "cannot"
    parameters, macs = _count(network)
    widths = sorted({m.hidden for m in network.modules() if hasattr(m, "hidden")})
    return (
        f"{parameters - plain[0]:+,}",
        f"{(macs - plain[1]) / 1e6:+.2f}",
        " ".join(map(str, widths)) or "none",
    )
