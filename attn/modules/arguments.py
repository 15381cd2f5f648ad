"""Checks of a mechanism's numbers; each raises ValueError with the value and the choices.

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


def one_of(key: str, value, choices):
    """Raises ValueError where the value is none of the choices."""
    if value not in choices:
        raise ValueError(f"{key}={value}: choose one of {', '.join(map(str, choices))}")
