"""Images that a file names: the paths are those of files."""
import os
from pathlib import Path
from typing import Optional, Sequence

import numpy as np

from ..paths import PackedPaths
from .base import Source


class ListedSource(Source):
    """Files whose paths are known.

    Args:
        paths: Their paths.
        folder: What relative ones are relative to.
        labels: A class each, if they are known.
        classes: Names of the classes.
        description: For the log.
    """

    def __init__(self, paths: PackedPaths, folder: str, labels: Optional[Sequence[int]] = None,
                 classes: Optional[Sequence[str]] = None, description: str = '') -> None:
        self.keys, self.folder = paths, folder
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        self.classes = None if classes is None else tuple(classes)
        self.description = description

    def key(self, index: int) -> str:
        return os.path.join(self.folder, self.keys[index])


def from_label_file(path: str, folder: str, labelled: bool,
                    classes: Optional[Sequence[str]] = None) -> ListedSource:
    """The images of a file such as ``meta/train.txt``.

    Args:
        path: Lines ``path/of/image.jpg 3``, or paths alone where it is not ``labelled``.
        folder: Where the images lie.
        labelled: Whether there are labels.
        classes: Names of the classes.
    """
    lines = Path(path).read_text(encoding='utf-8').splitlines()
    if not labelled:
        return ListedSource(PackedPaths.from_strings(filter(None, lines)), folder)
    parted = [line.strip().rpartition(' ')[::2] for line in lines]
    return ListedSource(PackedPaths.from_strings(image for image, _ in parted), folder,
                        [int(label) for _, label in parted], classes)
