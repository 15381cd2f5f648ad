"""Numbers as text, and tables in Markdown, in HTML and for the terminal."""

import html
import math

import pandas as pd

BEST = "best"
MINUS = "\N{MINUS SIGN}"


def number(value, digits: int = 2, sign: bool = False) -> str:
    """Returns a rounded number as text; the text is empty where there is no number."""
    if value is None or pd.isna(value):
        return ""
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("+-")


def interval(low, high, digits: int = 2, sign: bool = False) -> str:
    if low is None or pd.isna(low):
        return ""
    if low == high:
        return "all equal"
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def counted(count: int, what: str) -> str:
    """Returns a count with its noun, such as 1 seed or 2 seeds."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def whole(value) -> str:
    return "" if value is None or pd.isna(value) else f"{int(value):,}"


WIDTH = 100  # columns of a terminal


def plain(frame: pd.DataFrame) -> str:
    """Returns a table for the terminal, its first and last column to the left, others to the right.

    Where the table would be wider than WIDTH, names in its first column are cut.
    """
    lines, _ = _lines(frame)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    last = len(widths) - 1
    over = sum(widths) + last - WIDTH
    if over > 0:
        widths[0] -= over
        lines = [
            [line[0] if len(line[0]) <= widths[0] else line[0][: widths[0] - 1] + "…", *line[1:]]
            for line in lines
        ]
    text = ""
    for line in lines:
        cells = [
            cell.rjust(width) if 0 < i < last else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text += " ".join(cells).rstrip() + "\n"
    return text


def markdown(frame: pd.DataFrame) -> str:
    """Returns a Markdown table, with the accuracy of the best rows in bold."""
    lines, best = _lines(frame)
    columns = lines[0]
    rows = [
        [
            f"**{cell}**" if strong and _carries_mark(column) else cell
            for column, cell in zip(columns, line, strict=True)
        ]
        for line, strong in zip(lines[1:], best, strict=True)
    ]
    table = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_piped(line))} |" for line in table) + "\n"


def _piped(line):
    return [cell.replace("|", "\\|") for cell in line]


def html_table(frame: pd.DataFrame) -> str:
    """Returns an HTML table, with numbers to the right and the accuracy of the best rows strong."""
    lines, best = _lines(frame)
    columns = lines[0]
    right = [
        all(not line[i] or line[i][0] in f"0123456789+{MINUS}" for line in lines[1:])
        for i in range(len(columns))
    ]
    head = "".join(_html_cell("th", c, r) for c, r in zip(columns, right, strict=True))
    body = ""
    for line, strong in zip(lines[1:], best, strict=True):
        cells = [
            _html_cell("td", cell, r, strong and _carries_mark(c))
            for c, cell, r in zip(columns, line, right, strict=True)
        ]
        body += f"<tr>{''.join(cells)}</tr>\n"
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _html_cell(tag: str, text: str, right: bool, strong: bool = False) -> str:
    text = html.escape(text)
    text = f"<strong>{text}</strong>" if strong else text
    return f'<{tag} class="n">{text}</{tag}>' if right else f"<{tag}>{text}</{tag}>"


def _carries_mark(column: str) -> bool:
    return column.startswith("accuracy")


def _lines(frame: pd.DataFrame) -> tuple[list[list[str]], list[bool]]:
    """Returns the head and the rows as text, and for each row whether it is among the best."""
    best = frame[BEST].tolist() if BEST in frame else [False] * len(frame)
    shown = frame.drop(columns=BEST, errors="ignore")
    rows = [[_text(value) for value in row] for row in shown.itertuples(index=False)]
    return [list(shown.columns), *rows], best


def _text(value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else f"{value:,}"
