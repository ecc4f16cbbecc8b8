"""From what a table, shard or data base says of classes to labels in the one list of classes."""
import re
from importlib import import_module
from types import ModuleType
from typing import Optional, Sequence, Tuple, Union

import numpy as np

from mmwamim.errors import UserError

from ..listing import printable, shortened
from ..splits import class_places, same_name, unknown_classes

LABELS = ('label', 'labels', 'class', 'class_name', 'category', 'target', 'gt_label', 'class_id',
          'label_id', 'cls')


MOST = 1_000_000  # classes that are numbers


class NoLabels(UserError):
    """Labels are wanted, and there are none."""


def library(name: str, extra: str = 'data') -> ModuleType:
    """An optional library.

    Raises:
        UserError: It is not installed; the message says how.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"these data need {name}, which is not installed: pip install {name}, or "
                        f"pip install 'mmwamim[{extra}]' for all kinds ({error})") from None


def settle_labels(given: Union[np.ndarray, Sequence[str]], classes: Optional[Sequence[str]],
                  where: str) -> Tuple[np.ndarray, Tuple[str, ...]]:
    """Labels that count in one list of classes.

    Args:
        given: A class each: numbers from 0 on, or names. Names that are all numbers, without zeros
            before them, are numbers.
        classes: The list, which fixes the labels: that of the training set. None: this is the
            training set, whose list is that of its names, sorted, or of its numbers. Numbers that
            are all names of the list are those classes, and others its places.
        where: Whose they are, for messages.

    Returns:
        int64 (N, ) and the list.

    Raises:
        UserError: A label is no class of the list, or no number from 0 on.
    """
    given = np.asarray(given)
    if given.ndim > 1 or any(isinstance(one, (list, np.ndarray)) for one in given[:1]):
        raise UserError(f'{printable(where)}: a label is a list, and not one class')
    missing = 0 if given.dtype.kind in 'iu' else sum(map(_is_missing, given.tolist()))
    if missing:
        raise UserError(f'{printable(where)}: {missing} of {len(given)} images have no label')
    if given.dtype.kind not in 'iu':
        try:
            numbers = given.astype(np.int64)
            padded = given.dtype.kind in 'UO' and any(  # '007' is a name, as that of a folder
                isinstance(one, str) and re.match(r'\s*[+-]?0\d', one) for one in given.tolist())
            given = numbers if not padded and np.array_equal(
                numbers, given.astype(np.float64)) else given
        except ValueError:
            pass
    if given.dtype.kind in 'iu':
        named = set(map(str, np.unique(given).tolist()))
        if classes is None or not named <= set(classes):  # folders '1' and '2', say
            return _settle_numbers(given.astype(np.int64), classes, where)
    names, labels = np.unique(given.astype(str), return_inverse=True)
    names = names.tolist()
    place = class_places(names if classes is None else classes)
    unknown = [name for name in names if same_name(name) not in place]
    if unknown:
        raise UserError(unknown_classes(where, unknown, names, classes, 'the training set'))
    order = np.array([place[same_name(name)] for name in names], dtype=np.int64)
    return order[labels], tuple(names if classes is None else classes)


def _is_missing(label: object) -> bool:
    """None, NaN, or no text."""
    return label is None or label != label or isinstance(label, str) and not label.strip()


def _settle_numbers(labels: np.ndarray, classes: Optional[Sequence[str]], where: str
                    ) -> Tuple[np.ndarray, Tuple[str, ...]]:
    least, most = (int(labels.min()), int(labels.max())) if len(labels) else (0, -1)
    if classes is None and most >= MOST:  # numbers of persons or products, and not of classes
        raise UserError(f'{printable(where)}: the label {most} would be one of {most + 1} classes: '
                        'number them from 0 on, or name the column of classes')
    if least < 0:
        raise UserError(f'{printable(where)}: the label {least} is no class: labels count from 0')
    if classes is not None and most >= len(classes):
        raise UserError(f'{printable(where)}: the label {most} is no class: there are '
                        f'{len(classes)}, {shortened(classes, 4)}, with the labels 0 to '
                        f'{len(classes) - 1}')
    return labels, tuple(map(str, range(most + 1))) if classes is None else tuple(classes)


def describe_labels(labels: np.ndarray, classes: Sequence[str], given: Sequence) -> str:
    """What should be known of them, in lines that begin with two blanks, or ''.

    Args:
        labels, classes: As of :func:`settle_labels`.
        given: What they were settled from.

    Examples:
        >>> describe_labels(np.array([1, 2, 1]), ('0', '1', '2'), [1, 2, 1])
        "\\n  no images of 1 of 3 classes: '0'"
        >>> describe_labels(np.array([0, 1]), ('cat', 'dog'), [0, 1])
        "\\n  labels are numbers, taken as places in the list of classes: 0 is 'cat'"
    """
    text = ''
    if len(labels) and str(given[0]).strip() != classes[labels[0]] and str(given[0]).isdigit():
        text += ('\n  labels are numbers, taken as places in the list of classes: 0 is '
                 f'{printable(classes[0])!r}')
    missing = np.setdiff1d(np.arange(len(classes)), labels).tolist()
    if missing:
        text += (f'\n  no images of {len(missing)} of {len(classes)} classes: '
                 f'{shortened([classes[label] for label in missing])}')
    return text


def folders_as_labels(keys: Sequence[str], where: str) -> np.ndarray:
    """The folder in each key, such as 'cat' of 'cat/1.jpg'.

    Raises:
        NoLabels: A key has none.
    """
    names = [key.rpartition('/')[0].rpartition('/')[2] for key in keys]
    if not all(names):
        raise NoLabels(f'{printable(where)} has no labels: neither stored ones, nor a folder in '
                       f'every name, as {printable(keys[names.index("")])!r} shows')
    return np.array(names)
