"""The hidden width of a bottleneck."""


def hidden_width(mechanism: str, channels: int, reduction: int) -> int:
    """max(1, channels // reduction): a width of 0 would silently gate with a constant.

    Raises ValueError where reduction is below 1.
    """
    if reduction < 1:
        raise ValueError(
            f"{mechanism} on {channels} channels: reduction={reduction} is below 1; "
            "1 keeps the width, 16 divides it by 16"
        )
    return max(1, channels // reduction)
