"""Names of files for images that may have none: what is written of a place is a folder of classes.
"""
import re
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from typing import Callable, FrozenSet, List, Optional, Tuple

from mmwamim.errors import UserError

from ..listing import printable, readable_endings
from ..walk import is_system_folder
from .base import Source

LONGEST = 150  # bytes of a name, to which more comes
# Control characters, the other slash, and what no file system takes (surrogates of no byte).
ODD = re.compile('[\0-\x1f\x7f\\\\\ud800-\udc7f\udd00-\udfff]')


def file_names(source: Source, ending: Callable[[str], str]) -> List[str]:
    """A path for each image, below any folder and of no other: ``<class>/<name>`` where there are
    labels, or else as the place has it, ``a/1.png``.

    Names follow from the keys alone, so that a run that was interrupted goes on. Keys that would
    lead out of the folder, be hidden there or be too long are changed and get a hash of the key,
    and so do those of several images that would have one name.

    Args:
        source: The images.
        ending: From a name to that of the file to write, such as ``1.png`` to ``1.png.jpg``.

    Raises:
        UserError: Two get the same name all the same.

    Examples:
        >>> from mmwamim.datasets.paths import PackedPaths
        >>> from mmwamim.datasets.sources import ListedSource
        >>> keys = PackedPaths.from_strings(['cat/1.png', 'x/2.png'])
        >>> file_names(ListedSource(keys, '', [0, 0], ['cat']), str)
        ['cat/1.png', 'cat/x-2.png']
        >>> file_names(ListedSource(PackedPaths.from_strings(['../1.png']), ''), str)
        ['1-8e9ec0fabb.png']
    """
    folders = [None] * len(source) if source.labels is None else \
        [clean(source.classes[label]) for label in source.labels]
    names = [ending(_name(source.name(i), folder)) for i, folder in enumerate(folders)]
    shared = {name for name, count in Counter(names).items() if count > 1}
    if not shared:
        return names
    seen: Counter = Counter()
    for i, name in enumerate(names):
        if name in shared:
            key = source.name(i)
            seen[folders[i], key] += 1  # a shard may hold a member twice
            names[i] = ending(_name(key, folders[i], f'{key}\0{seen[folders[i], key]}'))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f'{len(twice)} images would get the name of another, such as '
                        f'{printable(twice[0])!r}: rename them')
    return names


def clean(part: str) -> str:
    """One name of a folder or file, that is one on every system and is not hidden; with a hash of
    what it was if it had to be changed.

    Examples:
        >>> clean('cat'), clean('a/b') == clean('a_b'), clean('.git').startswith('_.git-')
        ('cat', False, True)
    """
    text, changed = _plain(part.replace('/', '\\'))
    return f'{text}-{_digest(part)}' if changed else text


def _plain(part: str) -> Tuple[str, bool]:
    text = ODD.sub('_', part)
    if is_system_folder(text):
        text = f'_{text}'
    data = text.encode('utf-8', 'surrogateescape')
    if len(data) > LONGEST:
        text = data[:LONGEST].decode('utf-8', 'ignore')
    return text, text != part


def _name(key: str, folder: Optional[str] = None, digest_of: str = '') -> str:
    """The path for a key, in the folder of its class if there is one."""
    parts = key.split('/')
    inside = [part for part in parts if part not in ('', '.', '..')]
    changed = len(inside) < len(parts) or not inside
    if folder is not None and inside[:-1][-1:] == [folder]:
        del inside[-2]  # it would be said twice
    stem, ending = parted(inside.pop() if inside else 'image')
    plain = [_plain(part) for part in (*inside, stem)]
    texts, changed = [text for text, _ in plain], changed or any(other for _, other in plain)
    if folder is not None:
        texts, more = ['-'.join(texts)], len('-'.join(texts).encode(errors='replace')) > LONGEST
        texts, changed = ([_plain(texts[0])[0]] if more else texts), changed or more
    if changed or digest_of:
        texts[-1] += f'-{_digest(digest_of or key)}'
    texts[-1] += ending
    return '/'.join(texts if folder is None else [folder, *texts])


def parted(name: str) -> Tuple[str, str]:
    """'a.b' and '.png' of 'a.b.png'; what is no ending of a picture belongs to the name."""
    stem, dot, last = name.rpartition('.')
    if stem and f'.{last.lower()}' in _endings():
        return stem, dot + last
    return name, ''


@lru_cache(maxsize=1)
def _endings() -> FrozenSet[str]:
    return frozenset((*readable_endings(), '.npy'))


def _digest(text: str) -> str:
    return blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=5).hexdigest()
