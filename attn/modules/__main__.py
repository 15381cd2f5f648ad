"""The catalogue of the mechanisms.   python -m attn.modules [MECHANISM ...]"""

import sys

from attn.report.mechanisms import show

if __name__ == "__main__":
    show(sys.argv[1:])
