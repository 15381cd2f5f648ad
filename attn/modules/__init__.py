"""The mechanisms: one dictionary of names, one file a paper.

A mechanism's class says by `seam` where in a block the mechanism stands, and by its docstring what
the score means. The class is `Module(channels, **numbers)`, and at the seam `conv`
`Module(replaced, **numbers)`. A class that is another at `first` and `last`, where nothing is
added, has `at_end(channels, **numbers)`.
"""

from attn.modules.aff import AFF, IAFF
from attn.modules.bam import BAM
from attn.modules.cbam import CBAM, ChannelAttention
from attn.modules.coord import Coordinate
from attn.modules.eca import ECA
from attn.modules.gain import Gain
from attn.modules.gather_excite import GatherExcite
from attn.modules.gc import GlobalContext
from attn.modules.gct import GCT
from attn.modules.gsop import GSoP, GSoPPosition
from attn.modules.scse import SCSE, ChannelSE, SpatialSE
from attn.modules.se import SE
from attn.modules.shuffle import Shuffle
from attn.modules.simam import SimAM
from attn.modules.sk import SK
from attn.modules.split import Split
from attn.modules.static import Added, Constant, Random, Static

MECHANISMS = {
    "se": SE,
    "gsop": GSoP,
    "sk": SK,
    "scse": SCSE,
    "cse": ChannelSE,
    "sse": SpatialSE,
    "bam": BAM,
    "cbam": CBAM,
    "cbam_channel": ChannelAttention,
    "split": Split,
    "aff": AFF,
    "iaff": IAFF,
    "shuffle": Shuffle,
    "coord": Coordinate,
    "static": Static,
    "random": Random,
    "mlp": Added,
    "constant": Constant,
    "eca": ECA,
    "simam": SimAM,
    "gct": GCT,
    "gc": GlobalContext,
    "gather_excite": GatherExcite,
    "gsop_position": GSoPPosition,
    "gain": Gain,
}
