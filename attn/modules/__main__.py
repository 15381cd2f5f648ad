"""The catalogue of the mechanisms.   python -m attn.modules [MECHANISM ...]"""

import sys

from attn import command
from attn.report.mechanisms import show

if __name__ == "__main__":
    with command.stoppable():
        if command.is_question(sys.argv[1:]):
            print(__doc__)
        else:
            show(sys.argv[1:])
