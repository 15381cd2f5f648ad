"""Writes explorer.html: every configuration that was run, to choose from, in a single file."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from attn import stats
from attn.evidence import accuracies
from attn.evidence.claims import command_of
from attn.evidence.group import Group
from attn.evidence.scores import end_scores
from attn.evidence.variants import called
from attn.names import channel_name
from attn.report.page import png_data, rendered
from attn.runs.files import write


def write_explorer(groups: list[Group], out: Path):
    """Writes explorer.html with the groups' configurations, their seeds, costs and scores."""
    pictures, rows = {}, []
    for group in groups:
        rows += _rows(group, pictures)
    write(out / "explorer.html", rendered("explorer.html", rows=rows, pictures=pictures))


def _rows(group: Group, pictures: dict) -> list[dict]:
    """Returns the fields of each configuration, and adds the pictures that they name."""
    runs, scores = group.runs.set_index("run"), end_scores(group)
    found = []
    for row in accuracies.configurations(group).to_dict("records"):
        mine = runs.loc[row["runs"].split()]
        place = f"{group.name}/{row['backbone']}/{row['data']}"
        own = scores[scores["run"].isin(mine.index)]
        key = mine["configuration"].iloc[0]
        if len(own) and place not in pictures and (kept := _pictures(group, key)):
            pictures[place] = kept
        found.append(
            {
                "key": f"{group.name}/{key}",
                "group": group.title,
                **{key: row[key] for key in ("backbone", "location", "data")},
                "attention": row["attention"].partition("+")[0],
                "name": called(row),
                "seeds": [
                    [int(run.seed), round(100 * run.test_accuracy, 2), run.environment]
                    for run in mine.sort_values("seed").itertuples()
                ],
                **{key: _rounded(row[key]) for key in NUMBERS},
                "command": command_of(mine.reset_index().iloc[0], mine["seed"]),
                "scores": _scores(own),
                "pictures": place if len(own) else "",
            }
        )
    return found


NUMBERS = (
    *("n", "mean", "low", "high", "difference", "difference_low", "difference_high", "pairs"),
    *("best_epoch", "parameters", "multiply_adds", "train_seconds"),
)


def _rounded(value) -> float | None:
    """Returns a number of at most two decimals; None, which JSON has, where there is none."""
    return None if pd.isna(value) else round(float(value), 2)


def _scores(own: pd.DataFrame) -> list[list]:
    """Returns (channel's name, mean score, low, high) of each input channel, over runs."""
    rows = []
    for channel, mine in own.groupby("channel"):
        found = stats.within(stats.estimate(mine["mean"]), (0, 1))
        ends = [None if pd.isna(end) else round(end, 3) for end in (found.low, found.high)]
        rows.append([channel_name(channel), round(found.mean, 3), *ends])
    return rows


def _pictures(group: Group, configuration: str) -> list[str]:
    """Returns the input channels of one test image as the data of PNG files; none if not kept."""
    channels = group.pictures.get(f"example/{configuration}", ())
    return [png_data(_as_png(channel)) for channel in channels]


def _as_png(channel: np.ndarray) -> bytes:
    """Returns one input channel (S, S) uint8 as a grey PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(channel).save(buffer, "png")  # of a byte a pixel: noise does not compress
    return buffer.getvalue()
