"""The stem: the layers before the first block."""

STEMS = ("imagenet", "cifar")


def check_stem(backbone: str, stem: str):
    """Raises ValueError where the stem is neither imagenet nor cifar."""
    if stem not in STEMS:
        raise ValueError(f"{backbone}: stem={stem}; choose one of {', '.join(STEMS)}")
