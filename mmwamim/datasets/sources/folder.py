"""A folder of images; its folders are the classes."""
import os
from typing import Optional, Sequence

from ..listing import NoImages, list_images, printable
from ..splits import list_labelled
from .base import Source


class FolderSource(Source):
    """Every image below a folder.

    Args:
        root: The folder.
        labelled: Whether the folders in it are classes.
        classes: The list of classes; None: the folders with images in them.
        endings: Which files count. Default: what Pillow reads.
        note: What else there is to say.

    Raises:
        NoImages: There is no image.
        UserError: As of :func:`mmwamim.datasets.splits.list_labelled`.
    """

    def __init__(self, root: str, labelled: bool = False,
                 classes: Optional[Sequence[str]] = None,
                 endings: Optional[Sequence[str]] = None, note: str = '') -> None:
        self.root = root
        if labelled:
            listing, self.labels, self.classes = list_labelled(root, classes, endings)
        else:
            listing = list_images(root, endings)
        if note:
            listing.notes = [*listing.notes, note]
        self.description = listing.describe()
        if not listing.paths:
            raise NoImages(f'no image found below {printable(root)!r} (data_root): expected files '
                           f'that end in {", ".join(sorted(endings or ()))}. {self.description}')
        self.keys = listing.paths

    def key(self, index: int) -> str:
        return os.path.join(self.root, self.keys[index])
