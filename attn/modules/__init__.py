"""The mechanisms: one dictionary of names, one file a paper.

A mechanism is `Module(channels, **numbers)`; its class says by `seam` where in a block it stands,
and its docstring says what its score means.
"""

from attn.modules.cbam import CBAM, ChannelAttention
from attn.modules.se import SE

MECHANISMS = {"se": SE, "cbam": CBAM, "cbam_channel": ChannelAttention}
