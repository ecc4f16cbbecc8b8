"""A text, CSV, TSV or Parquet file with a column of paths."""
import csv
import gzip
import os
import zlib
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, TextIO

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from ..label_files import LOOKED_AT
from ..listing import NoImages, printable, readable_endings, shortened
from ..paths import PackedPaths
from ..splits import SPLITS
from .base import Source
from .labels import LABELS, NoLabels, describe_labels, library, settle_labels

PATHS = ('path', 'file', 'filename', 'file_name', 'filepath', 'file_path', 'image_path', 'img_path',
         'image_file', 'image', 'img')
TEXT, CSV = ('.txt', '.lst'), {'.csv': ',', '.tsv': '\t'}
ENDINGS = (*TEXT, *CSV, '.parquet', *(f'{ending}.gz' for ending in (*TEXT, *CSV)))
SPLIT = 'split'  # the column that says what is for training
ALL = '*'  # rows of every split


class TableSource(Source):
    """Images whose paths stand in a table; relative ones are relative to the table's folder.

    A text file has a path a line, or a path, a blank or tab and a class. Of the columns of other
    files those that are named are taken, or those with usual names (:data:`PATHS`, ``LABELS``).
    Where there is a column ``split``, the rows of the split that is asked for count.

    Args:
        path: The file.
        split: 'train', 'val' or the like; '': those for training, or with ``labelled`` all rows;
            :data:`ALL`: all rows.
        labelled: Whether labels are wanted.
        classes: As of :func:`mmwamim.datasets.sources.labels.settle_labels`.
        column: The column of paths.
        label_column: The column of classes.

    Raises:
        NoImages: There is no row, or none of the first files is there.
        UserError: There is no such column.
    """

    def __init__(self, path: str, split: str = '', labelled: bool = False,
                 classes: Optional[Sequence[str]] = None, column: Optional[str] = None,
                 label_column: Optional[str] = None) -> None:
        self.folder = os.path.dirname(os.path.abspath(path))
        table = read_table(path, column, label_column)
        names = list(table)
        column = choose(column, names, PATHS, path, 'paths', 'column')
        paths, said = table[column], [f'paths of the column {column!r}']
        rows = _rows(table, split if labelled else split or 'train', path)
        if rows is not None:
            paths, said = [paths[row] for row in rows], [*said, f'rows of the split {split!r}']
        _check_paths(paths, path, column)
        if '\\' in paths[0] and not os.path.exists(os.path.join(self.folder, paths[0])):
            paths = [one.replace('\\', '/') for one in paths]  # written on Windows
        self.keys = PackedPaths.from_strings(paths)
        if labelled:
            label_column = choose(label_column, names, LABELS, path, 'labels', 'label_column')
            given = table[label_column]
            given = given if rows is None else [given[row] for row in rows]
            unknown = next((one for one in set(map(str, given)) if not _is_text(one)), None)
            if unknown is not None:
                raise UserError(f'{printable(path)} is not written in UTF-8, as the class '
                                f'{printable(unknown)!r} shows: save it as UTF-8')
            given = [one.strip() if isinstance(one, str) else one for one in given]
            self.labels, self.classes = settle_labels(given, classes, path)
            said.append(f'{len(self.classes)} classes of the column {label_column!r}'
                        + describe_labels(self.labels, self.classes, given))
        self.description = f'{len(self)} images of the table {printable(path)}: ' + ', '.join(said)
        twice = len(paths) - len(set(paths))
        if twice:
            self.description += f'\n  {twice} rows have the path of another row'
        self._look(path)

    def key(self, index: int) -> str:
        return os.path.join(self.folder, self.keys[index])

    def _look(self, path: str) -> None:
        """Whether some of the files are there."""
        some = range(0, len(self), max(len(self) // LOOKED_AT, 1))
        missing = [i for i in some if not os.path.isfile(self.key(i))]
        if not missing:
            return
        text = (f'{len(missing)} of the {len(some)} files of {printable(path)} looked for are not '
                f'there, such as {printable(self.key(missing[0]))!r}')
        if len(missing) == len(some):
            raise NoImages(f'{text}. Relative paths are relative to the folder of the table')
        self.description += f'\n  {text}'


def read_table(path: str, column: Optional[str] = None, label_column: Optional[str] = None
               ) -> Dict[str, List]:
    """The columns of a file; None for those of Parquet that are of no use."""
    ending = os.path.splitext(path.lower().removesuffix('.gz'))[1]
    if ending in TEXT:
        return _read_text(path)
    if ending in CSV:
        return _read_csv(path, CSV[ending])
    parquet = library('pyarrow.parquet')
    usual = {*PATHS, *LABELS, SPLIT, (column or '').lower(), (label_column or '').lower()}
    there = parquet.read_schema(path).names
    names = [name for name in there if name.lower() in usual]
    table = parquet.read_table(path, columns=names).to_pydict() if names else {}
    return {**dict.fromkeys(there), **table}


def _check_paths(paths: List, path: str, column: str) -> None:
    """Raises UserError or NoImages unless all are paths of files."""
    if not paths:
        raise NoImages(f'{printable(path)} has no rows')
    other = next((one for one in paths if one is not None and not isinstance(one, str)), None)
    if other is not None:
        raise UserError(f'{printable(path)}: the column {column!r} holds {other!r}, which is no '
                        f'path: name the column of paths ({option("column")})')
    empty = sum(not one or '\0' in one for one in paths)
    if empty:
        raise NoImages(f'{printable(path)}: {empty} of {len(paths)} rows have no path in the '
                       f'column {column!r}')
    addresses = [one for one in paths if '://' in one]
    if addresses:
        raise UserError(f'{printable(path)}: {len(addresses)} of {len(paths)} rows are addresses, '
                        f'such as {printable(addresses[0])!r}, which are not fetched: download '
                        'them, and write the paths of the files')


def _is_text(name: str) -> bool:
    return not any('\udc80' <= letter <= '\udcff' for letter in name)


@contextmanager
def _text(path: str) -> Iterator[TextIO]:
    """A text file, compressed or not, by its first bytes. What is not UTF-8 is kept, since names of
    files may be any bytes.

    Raises:
        UserError: It is cut off, or in no encoding that is known.
    """
    with open(path, 'rb') as file:
        unpacked = gzip.open if file.read(2) == b'\x1f\x8b' else open
    try:
        with unpacked(path, 'rb') as file:
            start = file.read(2)
        encoding = 'utf-16' if start in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
        with unpacked(path, 'rt', newline='', encoding=encoding, errors='surrogateescape') as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeError) as error:
        raise UserError(f'{printable(path)} is damaged: {error}') from error


def _read_csv(path: str, delimiter: str) -> Dict[str, List[str]]:
    """As programs write it: with a BOM, or with semicolons or tabs where the header has them."""
    with _text(path) as file:
        header = next(filter(str.strip, file), '')
        file.seek(0)
        if delimiter not in header:
            delimiter = next((other for other in ';\t,' if other in header), delimiter)
        rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        filled = (row for row in rows if len(row) > 1 or row and row[0].strip())
        try:
            names = [name.strip() for name in next(filled, [])]
            columns: List[List[str]] = [[] for _ in names]
            for row in filled:
                if len(row) != len(names):
                    raise UserError(f'{printable(path)}, line {rows.line_num}: {len(row)} fields, '
                                    f'but the header has {len(names)}')
                for values, value in zip(columns, row):
                    values.append(value)
        except csv.Error as error:
            raise UserError(f'{printable(path)}, line {rows.line_num}: {error}') from None
    return dict(zip(names, columns))


def _read_text(path: str) -> Dict[str, List[str]]:
    endings, paths, labels = readable_endings() + ('.npy', ), [], []
    with _text(path) as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        image, label = line, ''
        if not line.lower().endswith(endings):
            # A tab ends the path, which may have blanks, and so may the class behind it.
            parts = line.split('\t', 1) if '\t' in line else line.rsplit(None, 1)
            image, label = parts if len(parts) == 2 else (line, '')
        if bool(label) != bool(labels) and paths:
            raise UserError(f'{printable(path)}, line {number}: expected '
                            f'{"a path and its class" if labels else "a path alone"}, as in the '
                            f'lines before, not {printable(line)!r}')
        paths.append(image)
        labels += [label] if label else []
    return dict(path=paths, **(dict(label=labels) if labels else {}))


def choose(named: Optional[str], there: Sequence[str], usual: Sequence[str], where: str,
           what: str, name: str) -> str:
    """The column that is named, or else the one with a usual name.

    Raises:
        UserError: There is none; the message lists what there is.
    """
    small = {name.lower(): name for name in reversed(there)}
    wanted = [named] if named else usual
    found = next((there[there.index(name)] if name in there else small.get(name.lower())
                  for name in wanted if name in there or name.lower() in small), None)
    if found is None:
        raise (NoLabels if what == 'labels' else UserError)(
            f'{printable(where)} has no column {named!r}: there are {shortened(there)}'
            if named else
            f'{printable(where)} has no column of {what} with a usual name '
            f'({", ".join(usual[:6])}, ...): there are {shortened(there)}'
            + (', so that the first line seems to be no header' if any(
                one.lower().endswith(readable_endings()) for one in there)
               else f'; name one with {option(name)}')) from None
    return found


def splits(path: str) -> List[str]:
    """What stands in the column ``split``, those for training first; [] where there is none.

    Raises:
        UserError: Two names there are of one split.
    """
    table = read_table(path)
    column = next((name for name in table if name.lower() == SPLIT), None)
    there = sorted(set(map(str, table[column]))) if column else []
    kinds = {name: next((kind for kind, names in SPLITS.items() if name.lower() in names),
                        name.lower()) for name in there}
    if len(set(kinds.values())) < len(kinds):
        raise UserError(f'{printable(path)}: names in the column {column!r} that stand for one '
                        f'split: {shortened(there)}')
    return sorted(there, key=lambda name: kinds[name] != 'train')


def _rows(table: Dict[str, List], split: str, path: str) -> Optional[List[int]]:
    column = next((name for name in table if name.lower() == SPLIT and split != ALL), None)
    split = '' if split == ALL else split
    if split and column is None and split.lower() not in SPLITS['train']:
        raise NoImages(f'{printable(path)!r} has no column {SPLIT!r}, and so no split {split!r}: '
                       f'give a folder that holds, say, train.csv and {split}.csv')
    if column is None or not split:
        return None
    names = next((names for names in SPLITS.values() if split.lower() in names), (split.lower(), ))
    rows = [row for row, value in enumerate(table[column]) if str(value).lower() in names]
    if not rows:
        there = sorted(set(map(str, table[column])))
        raise NoImages(f'{printable(path)} has no row of the split {split!r} in the column '
                       f'{column!r}: there are {shortened(there)}')
    return rows
