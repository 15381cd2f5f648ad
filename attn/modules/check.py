"""Checks of a mechanism's numbers; each raises ValueError with mechanism, value and choices."""


def hidden_width(mechanism: str, channels: int, reduction: int, least: int = 1) -> int:
    """max(least, channels // reduction): a width of 0 would silently gate with a constant.

    Raises ValueError where reduction or least is below 1.
    """
    if least < 1:
        raise ValueError(f"{mechanism} on {channels} channels: least={least} is below 1")
    if reduction < 1:
        raise ValueError(
            f"{mechanism} on {channels} channels: reduction={reduction} is below 1; "
            "1 keeps the width, 16 divides it by 16"
        )
    return max(least, channels // reduction)


def one_of(mechanism: str, channels: int, key: str, value, choices):
    """Raises ValueError where the value is none of the choices."""
    if value not in choices:
        raise ValueError(
            f"{mechanism} on {channels} channels: {key}={value}; "
            f"choose one of {', '.join(map(str, choices))}"
        )
