"""Finds or fetches CIFAR-10 and says what it found.   python -m attn.data [words]

It takes the words of train.py, such as data.root=PATH. Exit status: 0 found, 1 damaged, 3 nothing
found and nothing could be fetched.
"""

import sys

from attn.config import cli
from attn.config.sweep import composed, split
from attn.config.words import check_words
from attn.data import load
from attn.errors import DataError, DataMissing
from attn.names import SOURCES


def main(words: list[str]):
    if cli.is_question(words):
        print(__doc__)
        return
    with cli.refusing():
        cli.register()
        check_words(words)
        asked = composed(split(words)[0]).data
    try:
        data = load(asked.source, asked.root)
    except DataError as error:
        print(error, file=sys.stderr)
        sys.exit(3 if isinstance(error, DataMissing) else 1)
    counts = ", ".join(f"{len(labels):,} {split}" for split, labels in data.labels.items())
    print(f"{SOURCES[data.source]}: {counts} images, fingerprint {data.fingerprint[:12]}")


if __name__ == "__main__":
    with cli.stoppable():
        main(cli.expand_home(sys.argv[1:]))
