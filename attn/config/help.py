"""The help of the programs, from the comments in configs/."""

import re
from pathlib import Path

from attn.config.catalogue import CONFIGS, GROUPS, choices, text_of
from attn.config.words import TYPED


def explain(program: str) -> str:
    """Returns the help of a program, from the comments in configs/.

    For train.py the help has every group, choice and key; for eval.py it has every key.
    """
    lines = [(CONFIGS.parent / f"{program}.py").read_text().split('"""')[1].strip(), ""]
    for key, text in _comments(CONFIGS / f"{program}.yaml"):
        lines.append(f"  {key:<24}{text}")
    if program == "eval":
        return "\n".join(lines)
    for group, meaning in GROUPS.items():
        lines += ["", f"{group}=   {meaning}"]
        described = set()  # of data and recipe, whose choices share their keys
        # The post's recipe explains every key, so it comes first.
        for choice in sorted(choices(group), key=lambda name: name != "post"):
            path = CONFIGS / group / f"{choice}.yaml"
            what, _, example = _first_comment(path).partition("   ")
            lines += [f"  {choice:<24}{what}", f"  {'':<24}  {example}"]
            new = [(k, t) for k, t in _comments(path) if k.partition("=")[0] not in described]
            if group in TYPED:
                described |= {key.partition("=")[0] for key, _ in new}
            lines += [f"      {f'{group}.{key}':<31} {text}" for key, text in new]
    return "\n".join(lines)


def _first_comment(path: Path) -> str:
    lines = text_of(path).splitlines()
    return next((line for line in lines if not line.startswith("# @")), "")[2:]


def _comments(path: Path):
    """Yields (key=value, comment) of every line `key: value # comment` before the hydra section."""
    nested = ""
    for line in text_of(path).partition("\nhydra:")[0].splitlines():
        match = re.match(r"( *)(\w+):(?: ([^#]*?))?(?: +# (.*))?$", line)
        if match:
            indent, key, value, comment = match.groups()
            if not indent:
                nested = f"{key}." if not value else ""
            if value and comment:
                yield f"{nested if indent else ''}{key}={value}", comment
