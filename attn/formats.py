"""Numbers as text, and tables in Markdown, in HTML and for the terminal."""

import html
import re

import pandas as pd

BEST = "best"
MINUS = "\N{MINUS SIGN}"


def number(value, digits: int = 2, sign: bool = False) -> str:
    """Returns a rounded number as text; the text is empty where there is no number."""
    if pd.isna(value):
        return ""
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("+-")


def interval(low, high, digits: int = 2, sign: bool = False) -> str:
    if pd.isna(low):
        return ""
    if low == high:
        return "all equal"
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def counted(count: int, what: str) -> str:
    """Returns a count with its noun, such as 1 seed or 2 seeds."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


WIDTH = 100  # columns of a terminal


def plain(frame: pd.DataFrame) -> str:
    """Returns a table for the terminal, its first and last column to the left, others to the right.

    Where the table would be wider than WIDTH, names in its first column are cut.
    """
    lines = _lines(frame)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[0] -= max(0, sum(widths) + len(widths) - 1 - WIDTH)
    text = ""
    for first, *middle, last in lines:
        if len(first) > widths[0]:
            first = first[: widths[0] - 1] + "…"
        cells = [first.ljust(widths[0]), *map(str.rjust, middle, widths[1:-1]), last]
        text += " ".join(cells).rstrip() + "\n"
    return text


def markdown(frame: pd.DataFrame) -> str:
    """Returns a Markdown table, with the accuracy of the best rows in bold."""
    head, *rows = _lines(frame, lambda text: text.replace("|", "\\|"), "**{}**")
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def html_table(frame: pd.DataFrame) -> str:
    """Returns an HTML table, with numbers to the right and the accuracy of the best rows strong."""
    head, *rows = _lines(frame, html.escape, "<strong>{}</strong>")
    right = [all(map(_is_number, column)) for column in zip(*rows, strict=True)]
    right = right or [False] * len(head)

    def line(tag, cells):
        kinds = [' class="n"' if number else "" for number in right]
        return "".join(f"<{tag}{k}>{c}</{tag}>" for k, c in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line('td', row)}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{line('th', head)}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _is_number(cell: str) -> bool:
    """Returns whether a cell begins with a number, which 3x3 does not, or is empty."""
    return bool(re.match(rf"(<strong>)?[+{MINUS}]?[\d,.]+%?(?![\w.])|$", cell))


def _lines(frame: pd.DataFrame, escape=str, strong: str = "{}") -> list[list[str]]:
    """Returns the head and the rows as text; the accuracy of the best rows is put into `strong`."""
    best = frame[BEST] if BEST in frame else [False] * len(frame)
    shown = frame.drop(columns=BEST, errors="ignore")
    bold = [column.startswith("accuracy") for column in shown]
    lines = [[escape(column) for column in shown]]
    for row, marked in zip(shown.itertuples(index=False), best, strict=True):
        cells = zip((escape(_text(value)) for value in row), bold, strict=True)
        lines.append([strong.format(cell) if marked and own else cell for cell, own in cells])
    return lines


def _text(value) -> str:
    if value is None or isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else f"{value:,}"
