"""Tables as people read them: Markdown, LaTeX, HTML and the terminal, from frames of numbers."""

import html
import math

import pandas as pd

BEST = "best"
MINUS = "\N{MINUS SIGN}"


def number(value, digits: int = 2, sign: bool = False) -> str:
    """Rounded; nothing where there is none."""
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
    """1 seed, 2 seeds."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def whole(value) -> str:
    return "" if value is None or pd.isna(value) else f"{int(value):,}"


def accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    """An accuracy table in words; its best rows stay marked in a column of their own."""
    shown = _named(frame, "backbone", "data", "location", "stages", "attention", "model")
    shown["n"] = frame["n"]
    shown["accuracy, %"] = frame["mean"].map(number)
    shown["sd"] = frame["sd"].map(number)
    shown["95% interval"] = _intervals(frame, "low", "high")
    shown["best epoch"] = frame["best_epoch"].map(number)
    if "published" in frame:
        shown["published"] = frame["published"].map(number)
        shown["one run of ours"] = _intervals(frame, "one_run_low", "one_run_high")
    shown["to baseline"] = [_to_baseline(row) for row in frame.itertuples()]
    shown["its 95% interval"] = _intervals(frame, "difference_low", "difference_high", sign=True)
    shown["parameters"] = frame["parameters"].map(whole)
    shown["multiply-adds, M"] = (frame["multiply_adds"] / 1e6).map(number)
    times = zip(frame["train_seconds"].map(lambda s: number(s, 0)), frame["device"], strict=True)
    shown["training, s"] = [f"{seconds} ({device})" if seconds else "" for seconds, device in times]
    if "missing" in frame and frame["missing"].any():
        shown["missing"] = frame["missing"]
    return shown.assign(**{BEST: frame["best"]})


def _named(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Those of the columns that are there, and what tells configurations of one name apart."""
    return frame[[name for name in (*columns, "variant") if name in frame]].copy()


def _to_baseline(row) -> str:
    """A difference by seed; of how many pairs, where a seed of either has no partner."""
    text = number(row.difference, sign=True)
    unpaired = row.pairs and row.pairs < max(row.n, row.baseline_n)
    return f"{text} ({counted(row.pairs, 'pair')})" if unpaired else text


def _intervals(frame, low: str, high: str, digits: int = 2, sign: bool = False):
    return [interval(*pair, digits, sign) for pair in zip(frame[low], frame[high], strict=True)]


def separation(frame: pd.DataFrame) -> pd.DataFrame:
    shown = _named(frame, "backbone", "data", "attention").assign(n=frame["n"])
    shown["AUC"] = frame["noise_auc"].map(lambda v: number(v, 3))
    shown["95% interval"] = _intervals(frame, "noise_auc_low", "noise_auc_high", 3)
    gap = "lowest colour minus highest noise"
    shown[gap] = frame["score_gap"].map(lambda v: number(v, 3, sign=True))
    shown["its 95% interval"] = _intervals(frame, "score_gap_low", "score_gap_high", 3, sign=True)
    for name in ("colours", "noise"):
        shown[f"mean score, {name}"] = frame[name].map(lambda v: number(v, 3))
    return shown


def importance(frame: pd.DataFrame) -> pd.DataFrame:
    shown = _named(frame, "backbone", "data", "location", "attention")
    shown[["n", "channels"]] = frame[["n", "channels"]]
    for name in ("score", "score_x_sd", "sd"):
        label = name.replace("_x_", " x ")
        shown[f"rank correlation, {label}"] = frame[name].map(lambda v: number(v, 2, sign=True))
        shown[f"95% interval, {label}"] = _intervals(frame, f"{name}_low", f"{name}_high", 2, True)
        undefined = frame["n"] - frame[f"{name}_n"]
        if undefined.any():
            shown[f"undefined, {label}"] = undefined
    shown["lost with the best tenth, %"] = frame["best_tenth"].map(lambda v: number(v, 0))
    shown["its 95% interval"] = _intervals(frame, "best_tenth_low", "best_tenth_high", 0)
    return shown


def environments(frame: pd.DataFrame) -> pd.DataFrame:
    shown = frame[["environment", "backbone", "data"]].copy()
    shown["runs"] = frame["count"]
    shown["n without attention"] = frame["n"]
    shown["accuracy, %"] = frame["mean"].map(number)
    shown["95% interval"] = _intervals(frame, "low", "high")
    return shown


def input_channels(frame: pd.DataFrame) -> pd.DataFrame:
    shown = _named(frame, "backbone", "data", "attention")
    shown[["channel", "n"]] = frame[["channel", "n"]]
    shown["score"] = frame["score"].map(lambda v: number(v, 3))
    shown["sd"] = frame["sd"].map(lambda v: number(v, 3))
    shown["95% interval"] = _intervals(frame, "low", "high", 3)
    return shown


def gates(frame: pd.DataFrame) -> pd.DataFrame:
    shown = _named(frame, "backbone", "data", "location", "stages", "attention")
    shown[["part", "n"]] = frame[["part", "n"]]
    for name in ("first", "last", "moved", "spread", "saturated"):
        shown[name] = frame[name].map(lambda v: number(v, 3))
    for name in ("first", "last"):
        shown[f"loss at {name}"] = frame[f"loss_{name}"].map(number)
    return shown


WIDTH = 100  # columns of a terminal


def plain(frame: pd.DataFrame) -> str:
    """A table for the terminal, its first and last column to the left, others to the right.

    Where it would be wider than WIDTH, names in its first column are cut.
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
    """A Markdown table; the best rows' accuracy in bold."""
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


def latex(frame: pd.DataFrame, caption: str) -> str:
    """A LaTeX table (booktabs), as pandas writes it."""
    lines, best = _lines(frame)
    whole = pd.DataFrame(lines[1:], columns=lines[0])
    styler = whole.style.format(_escaped).hide(axis="index")
    marked = [column for column in whole if _carries_mark(column)]
    for i, strong in enumerate(best):
        if strong:
            styler = styler.set_properties(subset=(i, marked), **{"textbf": "--rwrap"})
    styler = styler.format_index(_escaped, axis="columns")
    text = styler.to_latex(hrules=True, caption=_escaped(caption), position="htbp")
    return text.replace(MINUS, "$-$")


LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_"}
LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
LATEX |= {"≤": r"$\leq$", "≠": r"$\neq$"}
LATEX |= {"{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _escaped(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in str(text))


def html_table(frame: pd.DataFrame) -> str:
    """An HTML table; numbers to the right, the best rows' accuracy strong."""
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
    """Head and rows as text, and which rows are the best."""
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
