"""Tar files as WebDataset writes them, read at any place by an index of their members."""
import glob
import json
import os
import re
import tarfile
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

from ..kept import kept
from ..listing import NoImages, counts, printable, readable_endings
from ..loading import UnreadableImage
from ..paths import PackedPaths
from ..walk import HIDDEN, NO_ENDING, THREADS, is_system_folder
from .base import Source, digest_of
from .copies import (
    COMPRESSED,
    check_space,
    copy_shard,
    is_compressed,
    is_remote,
    needs_copy,
    refresh,
    trim,
)
from .labels import LABELS, NoLabels, describe_labels, folders_as_labels, settle_labels

VERSION = 5
NO_FILE = 'links and devices'
ROOTS = {'', '.', '..'}  # which name no folder


class Member(NamedTuple):
    """An image in a shard."""
    name: str
    offset: int
    size: int
    label: str
    """What is stored beside it as its class, or ''."""


class ShardSource(Source):
    """Images in tar files, all of which are one set: each member is read by its offset, so that the
    order, resuming and the count of images are as exact as those of a folder.

    The members of a sample share their name up to the first dot. Its class is what a member
    ``.cls``, ``.label`` or the like holds, or a field of these names in ``.json``; where there is
    none, the folder in the member's name.

    Compressed shards and those of a server or program are copied once
    (:mod:`mmwamim.datasets.sources.copies`).

    Args:
        pattern: A folder of ``.tar`` files, one of them, or a pattern: ``train-{000..099}.tar``,
            ``train-*.tar.gz``, ``pipe:PROGRAM train-{000..099}.tar``, ``https://...``.
        labelled: Whether labels are wanted.
        classes: As of :func:`mmwamim.datasets.sources.labels.settle_labels`.

    Raises:
        NoImages: There is no such shard, or no image in them.
        UserError: They are compressed or elsewhere, and there is no room for copies.
    """

    most: Optional[int] = None
    """Copies that are kept at a time; None: all."""
    open_at_once = 64
    """Shards that a process holds open."""

    def __init__(self, pattern: str, labelled: bool = False,
                 classes: Optional[Sequence[str]] = None) -> None:
        self.shards, self._open = find_shards(pattern), OrderedDict()
        content = _index(self.shards, self.most)
        self.files, self.sizes = content['files'], content['sizes']
        self.copies = content['copies']
        self.keys = PackedPaths(content['names'].numpy(), content['ends'].numpy())
        self.spans, self.shard_of = content['spans'].numpy(), content['shard_of'].numpy()
        notes = list(content['notes'])
        if not len(self.keys):
            raise NoImages('\n  '.join([f'no image in {len(self.shards)} shards of '
                                        f'{printable(pattern)}', *notes]))
        if labelled:
            stored = PackedPaths(content['labels'].numpy())
            try:
                given = list(stored) if len(stored) == len(self.keys) \
                    else folders_as_labels(self.keys, pattern)
            except NoLabels as error:
                raise NoLabels('\n  '.join([str(error), *notes])) from None
            self.labels, self.classes = settle_labels(given, classes, pattern)
            notes += filter(None, describe_labels(self.labels, self.classes, given).split('\n  '))
        self.description = '\n  '.join([
            f'{len(self)} images in {len(self.shards)} tar shards of {printable(pattern)}, by an '
            f'index of their members: {counts(content["taken"])}', *notes])

    def key(self, index: int) -> str:
        return f'{self.shards[self.shard_of[index]]}/{self.keys[index]}'

    def name(self, index: int) -> str:
        return f'{os.path.basename(self.shards[self.shard_of[index]])}/{self.keys[index]}'

    def digest(self) -> str:
        names = '\0'.join(map(os.path.basename, self.shards)).encode('utf-8', 'surrogatepass')
        return digest_of(names, self.keys.data, self.shard_of, self.spans[:, 1])

    def holder(self, index: int) -> str:
        return self.files[self.shard_of[index]]

    def read(self, index: int) -> bytes:
        offset, size = self.spans[index].tolist()
        try:
            data = os.pread(self._file(int(self.shard_of[index])), size, offset)
        except OSError as error:
            raise UnreadableImage(f'{self.key(index)}: {error.strerror}') from error
        if len(data) < size:
            raise UnreadableImage(f'{self.key(index)}: the shard ends in the middle of it')
        return data

    def _file(self, shard: int) -> int:
        """Its number; those not used for the longest time are closed."""
        if shard not in self._open:
            if len(self._open) >= self.open_at_once:
                os.close(self._open.popitem(last=False)[1])
            self._open[shard] = os.open(self.files[shard], os.O_RDONLY)
        self._open.move_to_end(shard)
        return self._open[shard]

    def __getstate__(self) -> dict:
        return dict(self.__dict__, _open=OrderedDict())  # numbers mean nothing elsewhere


def find_shards(pattern: str) -> List[str]:
    """The tar files of a folder or pattern, sorted.

    Examples:
        >>> expand_braces('a-{08..10}-{x,y}.tar')[:3]
        ['a-08-x.tar', 'a-08-y.tar', 'a-09-x.tar']
    """
    if os.path.isdir(pattern):
        names = sorted(name for name in os.listdir(pattern) if not name.startswith('.'))
        found = [os.path.join(pattern, name) for name in names
                 if name.lower().endswith(('.tar', *COMPRESSED))]
    else:
        found = [path for name in expand_braces(pattern)
                 for path in (not is_remote(name) and sorted(glob.glob(name)) or [name])]
        missing = [path for path in found if not is_remote(path) and not os.path.isfile(path)]
        if missing:
            raise NoImages(f'{len(missing)} of {len(found)} shards are not there, such as '
                           f'{printable(missing[0])!r}')
    if not found:
        raise NoImages(f'{printable(pattern)!r} has no .tar file in it')
    return found


def expand_braces(pattern: str) -> List[str]:
    """'{000..099}' and '{a,b}' in a pattern, as a shell expands them."""
    parts = re.split(r'\{([^{}]*)\}', pattern)
    choices = [_choices(part) if number % 2 else [part] for number, part in enumerate(parts)]
    return [''.join(some) for some in product(*choices)]


def _choices(inside: str) -> List[str]:
    span = re.fullmatch(r'(\d+)\.\.(\d+)', inside)
    if not span:
        return inside.split(',')
    first, last = span.groups()
    width = max(map(len, span.groups())) if '0' in (first[0], last[0]) else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def _index(shards: Sequence[str], most: Optional[int] = None) -> dict:
    """The members of all shards: kept in the cache as long as size and time of none changes.

    Args:
        shards: Their names.
        most: Copies that are kept at a time; they are not looked for.
    """
    states = [[0, 0] if is_remote(path) else
              list(os.stat(path)[6:7]) + [os.stat(path).st_mtime_ns] for path in shards]
    copied = [path for path in shards if needs_copy(path)]
    with kept('shards', VERSION, *map(os.path.abspath, shards)) as file:
        content = file.load('states')
        if content is not None and content['states'] == states and (
                most or refresh(content)):
            return content
        check_space(copied, most)
        copies: List[str] = []

        def read(path: str) -> tuple:
            copy, note = copy_shard(path) if needs_copy(path) else (path, '')
            found, size = members(copy, path), os.path.getsize(copy)
            if copy != path:
                copies.append(copy)
                trim(copies, most)
            return found, note, copy, size

        with ThreadPoolExecutor(min(THREADS, most or THREADS)) as pool:
            found, further, files, sizes = zip(*pool.map(read, shards))
        content = _packed(shards, found)
        content['notes'] += filter(None, further)
        content.update(states=states, files=list(files), sizes=list(sizes), copies=copies)
        return file.save(content) and file.load() or content


def _packed(shards: Sequence[str], found: Sequence[Sequence[Member]]) -> dict:
    rows = [member for images, _, _ in found for member in images]
    names = PackedPaths.from_strings(member.name for member in rows)
    labels = [member.label for member in rows]
    complete = bool(labels) and all(labels)
    notes = [note for _, note, _ in found if note]
    left_out = sum((counter for _, _, counter in found), Counter())
    if left_out:
        notes.append(f'left out: {counts(left_out)}')
    some = sum(map(bool, labels))
    if some and not complete:
        notes.append(f'{len(labels) - some} of {len(labels)} images have no stored class')
    endings = Counter(os.path.splitext(member.name)[1].lower() for member in rows)
    return dict(
        names=torch.from_numpy(names.data.copy()), ends=torch.from_numpy(names.ends),
        spans=torch.tensor([(m.offset, m.size) for m in rows], dtype=torch.int64).view(-1, 2),
        shard_of=torch.from_numpy(np.repeat(np.arange(len(shards), dtype=np.int32),
                                            [len(images) for images, _, _ in found])),
        labels=torch.from_numpy(PackedPaths.from_strings(
            labels if complete else []).data.copy()),
        taken=dict(endings), notes=notes)


def members(path: str, name: str) -> tuple:
    """The images of a tar file, what is wrong with what has that name, or '', and how many other
    members there are of each ending. Of two samples of one name each has its own label."""
    endings, images, labels, note = readable_endings() + ('.npy', ), [], {}, ''
    times, left_out, samples = Counter(), Counter(), []
    try:
        with tarfile.open(path, 'r:') as file:
            while (member := file.next()) is not None:
                file.members = []  # which it would keep
                *folders, base = member.name.split('/')
                if member.isdir():
                    continue
                if not member.isfile():
                    left_out[NO_FILE] += 1
                    continue
                if base.startswith('.') or any(map(is_system_folder, set(folders) - ROOTS)):
                    left_out[HIDDEN] += 1
                    continue
                times[member.name] += 1
                sample = _sample(member.name), times[member.name]
                if member.name.lower().endswith(endings):
                    images.append(Member(member.name, member.offset_data, member.size, ''))
                    samples.append(sample)
                elif not _read_label(file, member, sample, labels):
                    left_out[os.path.splitext(base.lower())[1] or NO_ENDING] += 1
    except PermissionError as error:
        note = f'{printable(name)} cannot be read: {error.strerror}'
    except (tarfile.TarError, OSError, EOFError) as error:
        note = f'{printable(name)} is damaged behind its first {len(images)} images: {error}'
        if path == name and not images and is_compressed(name):
            note = f'{printable(name)} is compressed: name it .tar.gz, or as it is compressed'
    images = [image._replace(label=labels.get(sample, ''))
              for image, sample in zip(images, samples)]
    return images, note, left_out


def _sample(name: str) -> str:
    folder, _, base = name.rpartition('/')
    return f'{folder}/{base.partition(".")[0]}'


def _read_label(file: tarfile.TarFile, member: tarfile.TarInfo, sample: Tuple[str, int],
                labels: Dict[Tuple[str, int], str]) -> bool:
    """Whether a member may hold the class of a sample."""
    ending = member.name.rpartition('.')[2].lower()
    if member.size > 1 << 20 or ending not in (*LABELS, 'json'):
        return False
    text = file.extractfile(member).read().decode('utf-8', 'replace').strip()
    if ending == 'json':
        try:
            fields = json.loads(text)
        except json.JSONDecodeError:
            return False
        small = {name.lower(): value for name, value in fields.items()} \
            if isinstance(fields, dict) else {}
        text = next((str(small[name]) for name in LABELS if small.get(name) is not None), '')
    if text:
        labels.setdefault(sample, text)
    return True
