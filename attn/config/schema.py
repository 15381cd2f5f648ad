"""The fields of a configuration, typed; the values are in configs/."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from attn.names import restriction

# Raised when a change of code changes the numbers that a run gives.
NUMERICS = 4


@dataclass
class Noise:
    channels: int = 0
    kind: str = "uniform"
    size: int | None = None  # at which it is drawn; None: the input's


@dataclass
class Data:
    name: str = "rgb"
    source: str = "cifar10"
    root: str | None = None
    noise: Noise = field(default_factory=Noise)


@dataclass
class Recipe:
    name: str = "post"
    size: int = 32
    images: int | None = None
    test_images: int | None = None
    epochs: int = 1
    batch_size: int = 32
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    augment: str = "none"
    precision: str = "fp32"


@dataclass
class Train:
    """The keys of configs/train.yaml, typed."""

    backbone: dict[str, Any]
    attention: dict[str, Any]
    data: Data = field(default_factory=Data)
    recipe: Recipe = field(default_factory=Recipe)
    location: str = "published"
    stages: Any = "all"
    blocks: Any = "all"
    seeds: Any = 1
    device: str = "auto"
    strict: bool = False
    compile: bool | None = None
    runs: str = "runs"


@dataclass
class Eval:
    """The keys of configs/eval.yaml, typed."""

    runs: str = "runs"
    out: str | None = None
    publish: bool = False
    checkpoint: str | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Config:
    """One configuration: all that a run's numbers depend on, but for its seed."""

    backbone: dict[str, Any]
    attention: dict[str, Any]
    data: Data
    recipe: Recipe
    location: str
    stages: Any  # "all", "between", or a list of numbers from 1
    labels: dict[str, str]  # group -> what people call it, from configs/
    fingerprint: str = ""  # of the data; empty where they are not loaded, as for a plan
    strict: bool = False
    blocks: Any = "all"  # or a list of numbers from 1

    @classmethod
    def from_dict(cls, values: dict):
        """Returns the configuration that a run folder's config.yaml holds."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        data = known["data"] | {"noise": Noise(**known["data"]["noise"])}
        return cls(**known | {"data": Data(**data), "recipe": Recipe(**known["recipe"])})

    @property
    def in_channels(self) -> int:
        return 3 + self.data.noise.channels

    @property
    def stages_text(self) -> str:
        """Returns stages or blocks as text: all, between, 1+2+3, or blocks 1+2+3."""
        if self.blocks != "all":
            return "blocks " + "+".join(map(str, self.blocks))
        return self.stages if isinstance(self.stages, str) else "+".join(map(str, self.stages))

    @property
    def title(self) -> str:
        """Returns the configuration's name for people."""
        names, place = self.labels, self.location
        attention = "no attention" if place == "none" else f"{names['attention']} at {place}"
        if self.stages_text != "all":
            attention += f" in{restriction(self.stages_text)}"
        return f"{names['backbone']}, {attention}, {names['data']}, {names['recipe']}"

    def identity(self) -> dict:
        """Returns the values that decide the numbers, and no others: no paths, no names."""
        values = asdict(replace(self, labels={}))
        for group in ("data", "recipe"):
            values[group].pop("name")
        for free in ("source", "root"):  # the fingerprint says what they led to
            values["data"].pop(free)
        del values["labels"]
        for later, usual in {"strict": False, "blocks": "all"}.items():
            if values[later] == usual:  # runs from before it have kept their names
                del values[later]
        return values | {"numerics": NUMERICS}

    @property
    def key(self) -> str:
        """Returns a short hash of the identity, which the seeds of one configuration share."""
        return short_hash(self.identity())


def short_hash(values: dict) -> str:
    """Returns a hash of values that JSON can hold, as eight hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def arguments(values: dict) -> dict:
    """Returns a group's constructor arguments: all its keys but the reserved keys."""
    return {key: value for key, value in values.items() if key not in RESERVED}


PLACING = ("location", "stages")  # in a mechanism's YAML: where it stands
RESERVED = ("name", *PLACING, "pretrained")
