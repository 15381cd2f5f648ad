"""The catalogue of the mechanisms.   python -m attn.modules [MECHANISM ...]"""

import sys

from attn.config import cli
from attn.formats import markdown
from attn.network.mechanisms import show

if __name__ == "__main__":
    with cli.stoppable():
        if cli.is_question(sys.argv[1:]):
            print(__doc__)
        else:
            show(sys.argv[1:], markdown)
