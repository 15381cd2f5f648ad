"""What several seeds of one configuration say."""

import pandas as pd


def summarise(runs: pd.DataFrame) -> dict:
    """n, mean and sd (of two or more) of the test accuracy in percent, and every seed's value."""
    percent = 100 * runs["test_accuracy"]
    pairs = sorted(zip(runs["seed"], percent, strict=True))
    return {
        "n": len(runs),
        "mean": percent.mean(),
        "sd": percent.std(ddof=1),
        "seeds": "  ".join(f"{seed}: {value:.2f}" for seed, value in pairs) or "not run",
    }
