"""Names and numbers that several rooms share."""

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# Where images come from, and what their runs are called.
SOURCES = {
    "archive": "CIFAR-10",
    "images": "CIFAR-10 as image files (not the official pixels)",
    "synthetic": "SYNTHETIC images, not CIFAR-10",
}
COLOURS = 3  # the first input channels; those after them are noise
POST_IMAGES = 64  # as many as the post's figure of scores
# The mechanisms in the order of their colours in figures: new names go last.
MECHANISMS = (
    "se",
    "gsop",
    "sk",
    "scse",
    "cse",
    "sse",
    "bam",
    "cbam",
    "cbam_channel",
    "split",
    "aff",
    "iaff",
    "shuffle",
    "coord",
    "static",
    "random",
    "mlp",
    "constant",
    "eca",
    "simam",
    "gct",
    "gc",
    "gather_excite",
    "gsop_position",
    "gain",
)
CONTROLS = ("static", "random", "mlp", "constant", "gain")  # what a gate must beat
EVERY_GATE = "all"  # in frozen.csv: the row of all gates at once
# The blocks that attention at `refine` can stand in, counted from 1.
# With `refine_at`, and at other seams, mechanisms stand in other blocks.
BLOCKS = {
    "mobilenet_v2": range(2, 18),  # the first does not expand
    "resnet18": range(1, 9),
    "resnet50": range(1, 17),
    "resnet20": range(1, 10),
    "resnet56": range(1, 28),
    "resnet110": range(1, 55),
}
AT_OTHER_SEAMS = ("sk", "split", "bam", "aff", "iaff")
# Where attention may stand: at an end of the network, by the seam there, or inside of it.
ENDS = {"first": "input", "last": "features"}
INSIDE = ("per_block", "per_stage")
LOCATIONS = ("none", *ENDS, *INSIDE)


def labels_in_order(count: int) -> list[int]:
    """Returns the classes of test images in the dataset's own order, which is by class."""
    return [i * len(CLASSES) // count for i in range(count)]


def channel_name(channel: int) -> str:
    """Returns the name of an input channel: R, G, B, noise 1 and so on."""
    return "RGB"[channel] if channel < COLOURS else f"noise {channel - COLOURS + 1}"


def of_channels(seam: str) -> tuple[str, ...]:
    """Returns the names that a score of each channel may have at an end of a network.

    CBAM's channel part has a name of its own within CBAM, and so have shares.
    """
    return tuple(f"seams.{seam}{part}" for part in ("", ".channel", ".shares"))


def of_input_channels(module: str) -> bool:
    """Returns whether a mechanism, by its module name, scores each of the input channels."""
    return module in of_channels("input")


def of_final_features(module: str) -> bool:
    """Returns whether a mechanism, by its module name, scores the final feature map's channels."""
    return module in of_channels("features")


def restriction(stages: str) -> str:
    """Returns what follows a mechanism's name where it stands in some stages or blocks only.

    Such a text is " stages 1+2" or " blocks 1+2". stages: the value in runs.csv; empty for all.
    """
    if stages == "all":
        return ""
    return f" {stages}" if stages.startswith("blocks") else f" stages {stages}"


def ranges(numbers: list[int]) -> str:
    """Returns sorted whole numbers as text, in which 0, 1, 2, 3 and 7 are 0 to 3, 7."""
    parts = []
    for value in numbers:
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ", ".join(
        f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts
    )
