"""One trained network: its accuracy, per class too, and its scores at every place of attention."""

from pathlib import Path

import pandas as pd
import torch
import yaml

from attn import files
from attn.build import build
from attn.data import CLASSES, load
from attn.errors import RunError
from attn.evaluation import POST_IMAGES, Predictor, evaluate, fixed_test_order, score_rows
from attn.precision import set_backends
from attn.report import figures, score_figures
from attn.report.collect import SOURCES
from attn.report.tables import markdown
from attn.schema import Config
from attn.scores import of_input_channels
from attn.training import split_inputs


def report_checkpoint(path: Path, out: Path, device: torch.device):
    """Evaluates a checkpoint on the whole test set and writes tables and figures under `out`.

    path: a run folder or the checkpoint.pt in it. Needs the data, and no other run. Raises RunError
    where there is no whole checkpoint.
    """
    config, seed, state = read_run(path)
    name = path.name if path.is_dir() else path.parent.name
    data = load(config.data.source, config.data.root)
    if data.fingerprint != config.fingerprint:
        print("These images are not the ones that it was trained on: another dataset or decoder.")
    set_backends(config.recipe, config.strict)
    network = build(config, seed)
    network.load_state_dict(state["network"])
    network.to(device)
    inputs = split_inputs(config, data, "test", device)
    order = fixed_test_order(len(data.labels["test"]))
    counts = {POST_IMAGES, len(order)}
    logits, scores = evaluate(Predictor(network, inputs, config.recipe), order, counts)
    right = logits.cpu().argmax(1) == data.labels["test"][order]
    epochs = f"{state['run']['epochs']} of {config.recipe.epochs} epochs"
    title = f"{name}\n{epochs}, {SOURCES[data.source]}"
    out = out / f"checkpoint-{name}"
    out.mkdir(parents=True, exist_ok=True)
    print(f"\n{title}\n\ntest accuracy {right.double().mean():.2%}\n")
    classes = _classes(right, data.labels["test"][order])
    _write(out / "classes", f"Accuracy by class: {title}", classes)
    figures.class_accuracy(classes, title, out / "classes.png")
    if scores[len(order)]:
        _write_scores(out, title, scores, inputs.pictures(int(order[0])))
    print(f"tables and figures: {out}")


def read_run(path: Path):
    """(configuration, seed, checkpoint) of a run folder, or of the checkpoint.pt in it."""
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.name != files.CHECKPOINT:
        raise RunError(f"checkpoint={path}: name the run folder, or its {files.CHECKPOINT}")
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text())
        state = files.load_checkpoint(folder)
    except FileNotFoundError:
        raise RunError(f"checkpoint={path}: no run folder (no config.yaml there)") from None
    if state is None:
        raise RunError(f"checkpoint={path}: no whole checkpoint.pt there")
    return Config.from_dict(values), values["seed"], state


def _classes(right, labels) -> pd.DataFrame:
    rows = []
    for label, name in enumerate(CLASSES):
        mine = right[labels == label]
        rows.append(
            {"class": name, "images": len(mine), "accuracy": 100 * mine.double().mean().item()}
        )
    return pd.DataFrame(rows)


def _write_scores(out: Path, title: str, scores: dict, pictures):
    frame = pd.DataFrame(score_rows(scores))
    files.write(out / "scores.csv", frame.to_csv(index=False, lineterminator="\n"))
    whole = frame[frame["images"] == frame["images"].max()]
    places = whole.groupby("module", sort=False)["mean"]
    summary = places.agg(channels="size", mean="mean", lowest="min", highest="max").reset_index()
    summary["spread over images"] = whole.groupby("module", sort=False)["sd"].mean().to_numpy()
    _write(out / "places", f"Scores by place, whole test set: {title}", summary)
    score_figures.by_place(whole, title, out / "places.png")
    at_input = frame[frame["module"].map(of_input_channels)].assign(run="")
    if not at_input.empty:
        only = pd.DataFrame({"run": [""], "seed": [0]})
        score_figures.of_input(pictures.numpy(), only, at_input, title, out / "scores-input.png")


def _write(path: Path, title: str, frame: pd.DataFrame):
    files.write(path.with_suffix(".csv"), frame.to_csv(index=False, lineterminator="\n"))
    heading = title.replace("\n", ", ")
    text = f"### {heading}\n\n{markdown(frame)}"
    files.write(path.with_suffix(".md"), text)
    print(text)
