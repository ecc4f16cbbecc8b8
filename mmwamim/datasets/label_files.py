"""Label files: a line an image, its path and the number of its class."""
import os
from pathlib import Path
from typing import Optional, Union

from mmwamim.errors import MissingFile, UserError

from .listing import NoImages, printable

LOOKED_AT = 1000  # images that are looked for before a run


def check_label_file(path: Union[str, Path], folder: Union[str, Path, None],
                     classes: Optional[int] = None) -> int:
    """Looks for what would break a run, or shift labels, in a file such as ``meta/train.txt``.

    Args:
        path: Lines ``path/of/image.jpg 3``.
        folder: Where the images lie. None: they are not looked for.
        classes: Number of classes. None: labels are not checked.

    Returns:
        One more than the largest label.

    Raises:
        MissingFile: There is no such file.
        NoImages: It names no image, or images that are not there.
        UserError: A line has no label, or one that is no class.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f'there is no label file {printable(path)!r} (ann_file)')
    images, most = [], 0
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1):
        image, _, label = line.strip().rpartition(' ')
        if not image or not label.isdigit():
            raise UserError(f'{printable(path)}, line {number}: expected the path of an image, a '
                            f'blank and the number of its class from 0 on, not {line!r}')
        if classes is not None and int(label) >= classes:
            raise UserError(f'{printable(path)}, line {number}: the label {label} is no class: '
                            f'there are {classes}, with the labels 0 to {classes - 1}')
        images.append(image)
        most = max(most, int(label) + 1)
    if not images:
        raise NoImages(f'{printable(path)} names no image')
    some = [] if folder is None else images[::max(len(images) // LOOKED_AT, 1)]
    missing = [image for image in some if not os.path.isfile(os.path.join(folder, image))]
    if missing:
        raise NoImages(f'{len(missing)} of the {len(some)} images of {printable(path)} looked for '
                       f'are not in {printable(folder)}, such as {printable(missing[0])!r}')
    return most
