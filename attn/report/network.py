"""One trained network: its accuracy, also by class, its scores at every place and their meaning."""

from pathlib import Path

import pandas as pd

from attn.evidence import content
from attn.evidence.classes import by_class, confusion_of
from attn.evidence.collect import SEEN
from attn.formats import markdown
from attn.names import CLASSES, SOURCES, channel_name, of_input_channels
from attn.report.figures import accuracy, channels, inspection, layers
from attn.runs import files
from attn.runs.whole import reading

REMAKE = "delete it, and the same command makes it again"


def report_checkpoint(look, out: Path) -> Path:
    """Writes tables and figures of one network under `out`, and returns their folder.

    `look` is the network's `attn.runs.look.Look`.
    """
    title = f"{look.run}\n{look.epochs}, {SOURCES[look.source]}"
    out = out / f"checkpoint-{look.run}"
    out.mkdir(parents=True, exist_ok=True)
    print(f"\n{title}\n\ntest accuracy {look.accuracy:.2%}\n")
    counts = confusion_of(look.taken)
    _write(out / "classes", f"Accuracy by class: {title}", by_class(counts))
    frame = pd.DataFrame(counts, columns=CLASSES)
    frame.insert(0, "class", CLASSES)
    _write(out / "confusion", f"Classes (rows) and what they are taken for: {title}", frame)
    heading = f"Classes, and what they are taken for\n{title}"
    accuracy.confusion([("", counts)], heading, out / "confusion.png")
    if look.scores:
        _write_scores(out, title, pd.DataFrame(look.scores), look.picture)
        _draw_inspection(look.kept, out, title)
    print(f"tables and figures: {out}")
    return out


def _draw_inspection(folder: Path, out: Path, title: str):
    classes = dict(tuple(_read(folder / "classes.csv").groupby("module", sort=False)))
    inspection.by_class(classes, title, out / "scores-classes.png")
    if (folder / "maps.npz").exists():
        with reading("maps.npz", REMAKE):
            maps = files.read_arrays(folder / "maps.npz")
        images = maps.pop("images")
        inspection.gates_over_images(images, maps, title, out / "gates.png")
    if (folder / "importance.csv").exists():
        lost = _read(folder / "importance.csv")
        names = lost["channel"].map(channel_name)
        at_input = lost["module"].map(of_input_channels)
        lost["channel"] = names.where(at_input, lost["channel"].astype(str))
        _write(out / "importance", f"Points lost without a channel: {title}", lost)
    if (folder / "frozen.csv").exists():
        lost = _read(folder / "frozen.csv")
        _write(out / "frozen", f"Points lost with frozen gates: {title}", lost)
    if (folder / "swap.csv").exists():
        pairs = content.pairs(_read(folder / "swap.csv").assign(run=folder.name))
        pairs = content.named(pairs.drop(columns="run"))
        _write(out / "swap", f"Scores where two input channels are exchanged: {title}", pairs)


def _read(path: Path) -> pd.DataFrame:
    """Reads what an inspection left. Raises Damaged where it is empty or has other columns."""
    with reading(path.name, REMAKE):
        return pd.read_csv(path)[SEEN[path.stem]]


def _write_scores(out: Path, title: str, frame: pd.DataFrame, picture):
    files.write_csv(out / "scores.csv", frame)
    whole = frame[frame["images"] == frame["images"].max()]
    places = whole.groupby("module", sort=False)["mean"]
    summary = places.agg(channels="size", mean="mean", lowest="min", highest="max").reset_index()
    summary["spread over images"] = whole.groupby("module", sort=False)["sd"].mean().to_numpy()
    _write(out / "places", f"Scores by place, whole test set: {title}", summary)
    layers.by_place(whole, title, out / "places.png")
    layers.heat_maps([("", whole)], f"Scores by place and channel\n{title}", out / "layers.png")
    at_input = frame[frame["module"].map(of_input_channels)].assign(run="")
    if at_input["channel"].nunique() == len(picture):  # a mechanism may score positions alone
        only = pd.DataFrame({"run": [""], "seed": [0], "attention": [""]})
        channels.of_input(picture, only, at_input, title, out / "scores-input.png")


def _write(path: Path, title: str, frame: pd.DataFrame):
    files.write_csv(path.with_suffix(".csv"), frame)
    heading = title.replace("\n", ", ")
    text = f"### {heading}\n\n{markdown(frame)}"
    files.write(path.with_suffix(".md"), text)
    print(text)
