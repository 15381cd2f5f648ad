"""What stands below the tables: what the numbers are, and the command that makes them."""

from pathlib import Path

from attn.report.claims import Table
from attn.report.group import Group
from attn.stats import SMOKE

ACCURACY = (
    "Top-1 test accuracy in percent after the last epoch; sd and Student's t-intervals over seeds; "
    "differences to {baseline}, over the seeds that both have in one environment. Best epoch: the "
    "mean of each run's highest test accuracy, which is chosen on the test set. One run of ours: "
    "the 95% prediction interval for one more run, against which a published run is held. Bold: "
    f"the best, and what is not told apart from it, of at least {SMOKE} seeds. Training: mean "
    "seconds of a run; of runs that train together on a GPU, their shares."
)
CONFIGURATIONS = (
    ACCURACY.format(baseline="the configuration without attention on the same data")
    + " A row of one seed is held against that seed of it alone, which may be far from its mean."
)
PLACEMENT = (
    "Points of top-1 test accuracy above the same network without attention on the same data, of "
    "mechanisms that stand at several places: mean over the n seeds that its places and the "
    "network without attention share, so places of a row compare, rows of different n do not. The "
    "median is over mechanisms, variants and controls left out, that stand at every place. All "
    "seeds, intervals and costs are in the table of every configuration."
)
ENVIRONMENTS = (
    "The level of the network without attention in each environment: torch, processor, vectors of "
    "its instruction set, precision and mode (fused: with this project's kernels for a CPU). One "
    "seed gives other last bits in another environment, and so another run: a difference is taken "
    "between runs of one environment only, seed by seed."
)
INPUTS = "Mean score over the whole test set after the last epoch; sd and t-interval over seeds."
SEPARATION = (
    "AUC: the share of pairs of a colour and a noise channel whose mean scores over the whole "
    "test set are in the right order, a number a run (1 perfect, 0.5 none); its mean and "
    "t-interval over seeds."
)
IMPORTANCE = (
    "Spearman's correlation of a channel's score with the accuracy lost when the channel is "
    "permuted among test images (2,000 at `first`, else all); also of score x the channel's sd, "
    "and of the sd alone, since a gate depends on its input's scale. Over several runs the mean "
    "and t-interval of theirs, of one run its own interval. n: runs. At `first` the channels are "
    "standardised: their sds are nearly equal, and a gate that ranks every colour above every "
    "noise channel has about 0.77 already, in whatever order the colours are. The best tenth: of "
    "all that is lost, channel by channel, what is lost with the tenth of the channels (at least "
    "one) that has the highest scores; by chance a tenth, of six channels a sixth. This was not "
    "asked beforehand."
)
CONTENT = (
    "A colour and a noise channel exchange their contents, in each of the first 1,000 images of "
    "the fixed test order, and the network scores its input channels again. Mean scores over pairs "
    "of a colour and a noise channel, then over runs. Follows content: how far the two scores move "
    "towards each other's usual ones, as a share of the way: 1 if a score goes with what a channel "
    "holds, 0 if it stays with the channel's place; of a run's means over pairs, t-interval over "
    "runs. Undefined: runs in which the colours' mean usual score is not above the noise channels' "
    "by 0.01. It takes trained networks, as `python eval.py checkpoint=all` looks into them."
)
GATES = (
    "first, last: the mean score, untrained (250 test images, batch statistics) and after the "
    "last epoch (all test images); moved: how far a channel's mean score moved, either way; "
    "spread: its sd over images; saturated: the share of scores below 0.05 or above 0.95. Means "
    "over channels, places and seeds."
)


def remake(root: Path, publish: bool) -> str:
    """The command that makes the tables of the runs in root, or all that is published, again."""
    if publish:
        return "python eval.py runs=results publish=true"  # from its data files
    return "python eval.py" if root == Path("runs") else f"python eval.py runs={root}"


def of_table(group: Group, table: Table, backbones: list[str]) -> str:
    """Below a published table, whose rows have these backbones; elsewhere it says so."""
    lines = [ACCURACY.format(baseline=f"`{table.baseline}`")]
    for backbone in backbones:
        if (group.recipe, backbone) == (table.recipe, table.backbone):
            lines.append(f"`{table.command()}` trains the rows of {backbone}.")
        else:
            command = table.command(group.recipe, backbone)
            lines.append(f"`{command}` trains the rows of {backbone}.")
    own = group.recipe == table.recipe and table.backbone in backbones
    if not own or len(backbones) > 1 or group.source == "synthetic":
        lines.append(
            f"Numbers of recipe `{table.recipe}` with {table.backbone} on CIFAR-10 alone can be "
            f"held against published ones; `{table.command()}` trains them."
        )
    return " ".join(lines)


def of_other(text: str, remake: str) -> str:
    return f"{text} `{remake}` makes this table; the page has the command of every row's runs."
