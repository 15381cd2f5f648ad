"""Checks a mechanism's numbers; a wrong number is a ValueError with the value.

`attn.network.place.attach` puts the mechanism's name and place before that message.
"""


def hidden_width(channels: int, reduction: int, least: int = 1) -> int:
    """Returns max(least, channels // reduction): a width of 0 would silently gate with a constant.

    Raises ValueError where reduction or least is below 1.
    """
    if least < 1:
        raise ValueError(f"least={least} is below 1")
    if reduction < 1:
        raise ValueError(
            f"reduction={reduction} is below 1; 1 keeps the width, 16 divides it by 16"
        )
    return max(least, channels // reduction)
