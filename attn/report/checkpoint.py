"""One trained network: its accuracy, per class too, its scores everywhere, and what they mean."""

import difflib
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
import yaml
from tqdm import tqdm

from attn.compute.precision import set_backends
from attn.config.schema import NUMERICS, Config
from attn.data import CLASSES, Dataset, load
from attn.errors import RunError
from attn.evaluation.inspect import files_of, inspect, swap
from attn.evaluation.predict import POST_IMAGES, Predictor, evaluate, fixed_test_order, score_rows
from attn.modules import MECHANISMS
from attn.network.build import build
from attn.network.scores import of_input_channels
from attn.report import content
from attn.report.collect import UNREADABLE
from attn.report.figures import accuracy, channels, inspection
from attn.report.formats import markdown
from attn.report.group import SOURCES, write_csv
from attn.report.tables import channel_name
from attn.runs import files
from attn.training.shared import split_inputs

OTHER_DATA = "these images are not the ones that it was trained on: another dataset or decoder"
CPU = torch.device("cpu")
CLASSES_CSV = "classes.csv"  # the last file that an inspection leaves in a run folder


def inspect_all(root: Path, device: torch.device):
    """Inspects every finished network that scores, where a file that this leaves is missing.

    The report then has their class scores, maps and importances, and what scores follow.
    """
    known = {}
    waiting = [
        path.parent
        for path in sorted(root.glob(f"*/{files.CHECKPOINT}"))
        if (path.parent / "summary.json").exists() and _lacks_files(path.parent, known)
    ]
    for folder in tqdm(waiting, desc="inspecting", unit="network"):
        try:
            config, seed, state = read_run(folder)
        except RunError as error:
            tqdm.write(f"not inspected: {error}")
            continue
        predictor, data = _predictor(config, seed, state, device)
        if data.fingerprint != config.fingerprint:
            tqdm.write(f"not inspected: {folder.name}: {OTHER_DATA}")
            continue
        _inspect(folder, predictor)


def _lacks_files(folder: Path, known: dict) -> bool:
    """Returns whether an inspection would leave a file in the run folder that is not there.

    known: the files by configuration, which this fills.
    """
    try:
        config, _, _ = _read_config(folder)
    except RunError:
        return True  # whoever inspects it is told why
    if config.location == "none":
        return False
    if config.key not in known:
        known[config.key] = files_of(build(config, seed=0), config.recipe.size)
    return any(not (folder / name).exists() for name in known[config.key])


def find(name: str, runs: Path) -> Path:
    """The run folder or checkpoint of a path, or of a run's name alone; else RunError."""
    for path in (Path(name), runs / name):
        if path.exists():
            return path
    known = [path.parent.name for path in runs.glob(f"*/{files.CHECKPOINT}")]
    near = difflib.get_close_matches(Path(name).name, known, n=1)
    hint = f"; did you mean {runs / near[0]}?" if near else ""
    raise RunError(f"checkpoint={name}: there is no such run folder{hint}")


def trained(path: Path, device: torch.device = CPU) -> Predictor:
    """The trained network of a run folder, with the test images as it takes them.

    Raises RunError where there is no whole checkpoint.
    """
    return _predictor(*read_run(path), device)[0]


def report_checkpoint(path: Path, out: Path, device: torch.device):
    """Evaluates a checkpoint on the whole test set and writes tables and figures under `out`.

    path: a run folder or the checkpoint.pt in it, which keeps what an inspection of a finished run
    found. Needs the data, and no other run. Raises RunError where there is no whole checkpoint.
    """
    folder = path if path.is_dir() else path.parent
    config, seed, state = read_run(path)
    predictor, data = _predictor(config, seed, state, device)
    same = data.fingerprint == config.fingerprint
    if not same:
        print(f"Mind: {OTHER_DATA}.")
    logits, scores = _evaluate(predictor)
    labels = predictor.inputs.labels.cpu()
    order = fixed_test_order(len(labels))
    right = logits.cpu().argmax(1) == labels[order]
    epochs = f"{state['run']['epochs']} of {config.recipe.epochs} epochs"
    title = f"{folder.name}\n{epochs}, {SOURCES[data.source]}"
    out = out / f"checkpoint-{folder.name}"
    out.mkdir(parents=True, exist_ok=True)
    print(f"\n{title}\n\ntest accuracy {right.double().mean():.2%}\n")
    classes = _classes(right, labels[order])
    _write(out / "classes", f"Accuracy by class: {title}", classes)
    accuracy.by_class(classes, title, out / "classes.png")
    if scores[len(order)]:
        _write_scores(out, title, scores, predictor.inputs.pictures(int(order[0])))
        with TemporaryDirectory() as aside:
            finished = same and (folder / "summary.json").exists()
            kept = folder if finished else Path(aside)
            _inspect(kept, predictor)
            _draw_inspection(kept, out, title)
    print(f"tables and figures: {out}")


def read_run(path: Path):
    """(configuration, seed, checkpoint) of a run folder, or of the checkpoint.pt in it."""
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.name != files.CHECKPOINT:
        raise RunError(f"checkpoint={path}: name the run folder, or its {files.CHECKPOINT}")
    config, seed, numerics = _read_config(folder)
    try:
        state = files.load_checkpoint(folder)
    except UNREADABLE as error:
        raise RunError(f"{folder / files.CHECKPOINT} cannot be read ({error})") from None
    if state is None:
        raise RunError(f"checkpoint={path}: no whole checkpoint.pt there")
    if numerics == NUMERICS and state["run"]["key"] != config.key:
        raise RunError(f"{folder / 'config.yaml'} is not what this run was trained with")
    return config, seed, state


def _read_config(folder: Path) -> tuple[Config, int, int]:
    """Returns a run's configuration, seed and numerics.

    Raises RunError where these cannot be used.
    """
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text())
        config, seed, numerics = Config.from_dict(values), values["seed"], values["numerics"]
    except FileNotFoundError:
        raise RunError(f"checkpoint={folder}: no run folder (no config.yaml there)") from None
    except (*UNREADABLE, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{folder / 'config.yaml'} is damaged ({reason})") from None
    if config.attention["name"] not in ("none", *MECHANISMS):
        raise RunError(f"{folder.name}: the mechanism {config.attention['name']} is no longer here")
    return config, seed, numerics


def _predictor(config: Config, seed: int, state: dict, device) -> tuple[Predictor, Dataset]:
    """The trained network on the test set, and the data that it is of."""
    data = load(config.data.source, config.data.root)
    set_backends(config.recipe, config.strict)
    network = build(config, seed)
    network.load_state_dict(state["network"])
    inputs = split_inputs(config, data, "test", device)
    network = network.to(device, memory_format=inputs.memory_format)
    return Predictor(network, inputs, config.recipe), data


@contextmanager
def _one_thread():
    """As in training, to the bit: the number of threads would change a CPU's roundings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _evaluate(predictor: Predictor):
    order = fixed_test_order(len(predictor.inputs.labels))
    with _one_thread():
        return evaluate(predictor, order, {POST_IMAGES, len(order)})


def _inspect(folder: Path, predictor: Predictor):
    """Writes what the folder lacks of swap.csv, importance.csv, maps.npz and last classes.csv."""
    size = predictor.inputs.images.shape[-1]
    lacking = {name for name in files_of(predictor.network, size) if not (folder / name).exists()}
    with _one_thread():
        if "swap.csv" in lacking:
            rows = pd.DataFrame(swap(predictor))
            write_csv(folder / "swap.csv", rows, float_format="%.6g")
        if lacking <= {"swap.csv"}:
            return
        found = inspect(predictor)
    if found.importance:
        write_csv(folder / "importance.csv", pd.DataFrame(found.importance), float_format="%.6g")
    if found.maps:
        files.write_arrays(folder / "maps.npz", **found.maps)
    write_csv(folder / CLASSES_CSV, pd.DataFrame(found.classes), float_format="%.6g")


def _draw_inspection(folder: Path, out: Path, title: str):
    classes = dict(tuple(pd.read_csv(folder / CLASSES_CSV).groupby("module", sort=False)))
    inspection.by_class(classes, title, out / "scores-classes.png")
    if (folder / "maps.npz").exists():
        with np.load(folder / "maps.npz") as file:
            maps = dict(file)
        images = maps.pop("images")
        inspection.gates_over_images(images, maps, title, out / "gates.png")
    if (folder / "importance.csv").exists():
        lost = pd.read_csv(folder / "importance.csv")
        names = lost["channel"].map(channel_name)
        at_input = lost["module"].map(of_input_channels)
        lost["channel"] = names.where(at_input, lost["channel"].astype(str))
        _write(out / "importance", f"Points lost without a channel: {title}", lost)
    if (folder / "swap.csv").exists():
        pairs = content.pairs(pd.read_csv(folder / "swap.csv").assign(run=folder.name))
        pairs = content.named(pairs.drop(columns="run"))
        _write(out / "swap", f"Scores where two input channels are exchanged: {title}", pairs)


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
    write_csv(out / "scores.csv", frame)
    whole = frame[frame["images"] == frame["images"].max()]
    places = whole.groupby("module", sort=False)["mean"]
    summary = places.agg(channels="size", mean="mean", lowest="min", highest="max").reset_index()
    summary["spread over images"] = whole.groupby("module", sort=False)["sd"].mean().to_numpy()
    _write(out / "places", f"Scores by place, whole test set: {title}", summary)
    channels.by_place(whole, title, out / "places.png")
    panels = [("", {m: np.sort(r["mean"])[::-1] for m, r in whole.groupby("module", sort=False)})]
    channels.heat_maps(panels, f"Scores by place and channel\n{title}", out / "layers.png")
    at_input = frame[frame["module"].map(of_input_channels)].assign(run="")
    if not at_input.empty:
        only = pd.DataFrame({"run": [""], "seed": [0], "attention": [""]})
        channels.of_input(pictures.numpy(), only, at_input, title, out / "scores-input.png")


def _write(path: Path, title: str, frame: pd.DataFrame):
    write_csv(path.with_suffix(".csv"), frame)
    heading = title.replace("\n", ", ")
    text = f"### {heading}\n\n{markdown(frame)}"
    files.write(path.with_suffix(".md"), text)
    print(text)
