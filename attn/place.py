"""From a location to seams: the only code that knows the location words.

none    nowhere           first   the network's input channels
last    the final feature map, before pooling
"""

from torch import nn

SEAMS = {"first": "input", "last": "features"}
LOCATIONS = ("none", *SEAMS)


def attach(network: nn.Module, location: str, make):
    """Fills the seams of one location with `make(channels)`."""
    if location != "none":
        seam = SEAMS[location]
        network.seams.fill(seam, make(network.seams.channels[seam]))
