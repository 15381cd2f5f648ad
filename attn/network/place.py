"""From location and stages to seams; attn.config.check resolves `published` and `none` before.

    first       the network's input channels      last        the final feature map, before pooling
    per_block   every block that has the seam at which the mechanism stands
    per_stage   the last such block of each stage

`stages`, counted from 1, restricts per_block and per_stage; `between` is all but the last.
`blocks`, counted from 1 through all stages, restricts per_block.
"""

from torch import nn

from attn.modules import MECHANISMS
from attn.names import ENDS, INSIDE, ranges
from attn.network.seams import CannotStand


def check_stages(network: nn.Module, stages):
    """Returns the chosen stages as a set of numbers.

    Raises CannotStand where `stages` chooses no stage, or a stage that the network does not have.
    """
    count = len(network.stages)
    words = {"all": range(1, count + 1), "between": range(1, count)}
    chosen = set(words[stages] if isinstance(stages, str) else stages)
    if not chosen or not chosen <= set(words["all"]):
        raise CannotStand(
            f"stages={stages}: choose all, between, or a list of numbers from 1 to {count}"
        )
    return chosen


def check_blocks(network: nn.Module, blocks: list[int], seam: str) -> list:
    """Returns the chosen blocks.

    Raises CannotStand where no block is chosen, or a block that the network does not have or that
    lacks the seam.
    """
    every = dict(enumerate((block for stage in network.stages for block in stage), 1))
    known = [number for number, block in every.items() if seam in block.seams.widths]
    if not blocks or not set(blocks) <= set(known):
        raise CannotStand(
            f"blocks={blocks}: choose all, or a list of the blocks with the seam {seam}: "
            f"{ranges(known)}"
        )
    return [every[number] for number in blocks]


def places(network: nn.Module, location: str, seam: str, stages="all", blocks="all") -> list:
    """Returns the (owner, seam) pairs of a location; an owner is the network or a block.

    Raises CannotStand where the stages or blocks are not the network's, where no block of the
    stages has the seam, or where the seam is `conv` and the location is an end of the network.
    """
    if location in ENDS:
        if seam == "conv":
            raise CannotStand(
                f"location={location}: it replaces a convolution, and none is there; "
                f"choose one of {', '.join(INSIDE)}"
            )
        return [(network, ENDS[location])]
    if blocks != "all":
        return [(block, seam) for block in check_blocks(network, blocks, seam)]
    numbers = check_stages(network, stages)
    having = {  # stage: its blocks that have the seam
        number: [(block, seam) for block in stage if seam in block.seams.widths]
        for number, stage in enumerate(network.stages, 1)
    }
    chosen = [having[number] for number in having if number in numbers]
    last = slice(-1, None) if location == "per_stage" else slice(None)
    found = [place for stage in chosen for place in stage[last]]
    if not found:
        others = ", ".join(str(number) for number, found in having.items() if found) or "none"
        raise CannotStand(
            f"stages={stages}: no block there has the seam {seam}; the stages with it: {others}"
        )
    return found


def attach(network: nn.Module, location: str, attention: str, stages, make, blocks="all"):
    """Fills the seams of a location with `make(form, index, what)`, in the order of the network.

    attention: a mechanism's name. form: the mechanism's class, or at an end of the network its
    `at_end` where it has one: nothing is added there. what: the channels at the place, or the
    convolution that is replaced. Raises ValueError, with the place and the mechanism, where the
    mechanism cannot stand there or a number of its own is wrong.
    """
    mechanism = MECHANISMS[attention]
    names = {module: name for name, module in network.named_modules()}
    form = getattr(mechanism, "at_end", mechanism) if location in ENDS else mechanism
    try:
        found = places(network, location, mechanism.seam, stages, blocks)
    except CannotStand as error:
        raise CannotStand(f"attention={attention}: {error}") from None
    # Among all blocks: a block starts from the same values whatever other blocks have.
    every = found if location in ENDS else places(network, "per_block", mechanism.seam)
    for owner, place in found:
        index = every.index((owner, place))
        what = owner.convolution if place == "conv" else owner.seams.widths[place]
        try:
            module = make(form, index, what)
        except ValueError as error:
            where = f"{names[owner]}.{place}".removeprefix(".")
            width = owner.seams.widths[place]
            told = f"{where}: attention={attention} on {width} channels: {error}"
            raise type(error)(told) from None
        if place == "conv":
            owner.replace_convolution(module)
        else:
            owner.seams.fill(place, module)
