"""Counts what each class of test images is taken for."""

import numpy as np
import pandas as pd

from attn.names import CLASSES, labels_in_order


def confusion_of(taken: np.ndarray) -> np.ndarray:
    """Returns how many images of each class (rows) are taken for each class (columns), (10, 10).

    `taken` holds the class (N,) that each test image is taken for. The dataset's own order is by
    class, and each class has as many images.
    """
    labels = labels_in_order(len(taken))
    counts = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(counts, (labels, taken), 1)
    return counts


def by_class(confusion: np.ndarray) -> pd.DataFrame:
    """Returns each class's images, its accuracy in percent, and what it is most often taken for."""
    images, right = confusion.sum(1), confusion.diagonal()
    wrong = confusion - np.diag(right)
    other = [CLASSES[row.argmax()] if row.any() else "" for row in wrong]
    return pd.DataFrame(
        {
            "class": CLASSES,
            "images": images,
            "accuracy": 100 * right / images.clip(1),
            "most often taken for": other,
            "so often": wrong.max(1),
        }
    )
