"""Layout and scores of ImageNet-A, -R, -Sketch and -C, for classifiers of ImageNet.

Accuracies and errors are in percent throughout. ``Parts`` are evaluated folders by name:
``'imagenet_a'``, ``'imagenet_r'``, ``'imagenet_sketch'`` and ``'imagenet_c/<corruption>/<1..5>'``.
"""
import os
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import torch
from torch import Tensor

from mmwamim.errors import MissingFile, UserError
from mmwamim.interface.words import option

# Average error of AlexNet over the five severities, Hendrycks and Dietterich 2019, Table 1.
# The keys are the 15 corruptions in the published order and under their folders' names.
ALEXNET_ERRORS = dict(
    gaussian_noise=88.6, shot_noise=89.4, impulse_noise=92.3,
    defocus_blur=82.0, glass_blur=82.6, motion_blur=78.6, zoom_blur=79.8,
    snow=86.7, frost=82.7, fog=81.9, brightness=56.5,
    contrast=85.3, elastic_transform=64.6, pixelate=71.8, jpeg_compression=60.7)
CORRUPTIONS = tuple(ALEXNET_ERRORS)
SEVERITIES = (1, 2, 3, 4, 5)
VARIANTS = ('imagenet_a', 'imagenet_r', 'imagenet_sketch')
WNIDS = Path(__file__).with_name('imagenet_wnids.txt')

# Classes and images of each published set (of ImageNet-C: of each of its folders).
PUBLISHED = dict(imagenet_a=(200, 7500), imagenet_r=(200, 30000),
                 imagenet_sketch=(1000, 50889), imagenet_c=(1000, 50000))

SeverityErrors = Mapping[str, Sequence[float]]  # of each corruption, one error a severity
Parts = Mapping[str, Mapping[str, float]]


class Part(NamedTuple):
    """Images with classes, such as a folder of class folders, that are evaluated in one go."""
    name: str
    folder: str  # or a table, shards, a data base
    subset: bool   # only the classes that have a folder count
    cropped: bool  # images may already have the size that the network takes
    rows: Optional[Sequence[int]] = None  # of ``folder``, where that is all of ImageNet-C


def find_parts(folders: Mapping[str, str], partial: bool,
               whole: Optional[Mapping[str, Sequence[int]]] = None) -> List[Part]:
    """What there is to evaluate, in order.

    Args:
        folders: Data folders by name, ``VARIANTS`` and ``'imagenet_c'``.
        partial: Whether folders of ImageNet-C may be missing.
        whole: The images of each part, such as ``'fog/3'``, where ImageNet-C is no folder of them.

    Raises:
        UserError: Folders of ImageNet-C are missing, and ``partial`` is false.
    """
    parts = [Part(name, folders[name], name in ('imagenet_a', 'imagenet_r'), False)
             for name in VARIANTS if name in folders]
    if 'imagenet_c' not in folders:
        return parts
    root = folders['imagenet_c']
    every = [f'{name}/{severity}' for name in CORRUPTIONS for severity in SEVERITIES]
    missing = [part for part in every if (
        not os.path.isdir(os.path.join(root, part)) if whole is None else part not in whole)]
    if len(missing) == len(every) or missing and not partial:
        raise UserError(f'{len(missing)} of the {len(every)} folders of ImageNet-C are missing, '
                        f'the first is {os.path.join(root, missing[0])}; '
                        f'{option("partial", True)} evaluates the rest')
    return parts + [
        Part(f'imagenet_c/{part}', os.path.join(root, part), False, True) if whole is None else
        Part(f'imagenet_c/{part}', root, False, True, whole[part])
        for part in every if part not in missing]


def read_wnids(path: Union[str, Path] = WNIDS) -> List[str]:
    """The classes in the order of the classifier's outputs: one id a line, # begins a comment.

    Raises:
        MissingFile: There is no such file.
        UserError: The file names no class, or one class twice.
    """
    if not Path(path).is_file():
        raise MissingFile(f'there is no file of class ids {str(path)!r}')
    lines = (line.split('#')[0].split() for line in Path(path).read_text().splitlines())
    wnids = [words[0] for words in lines if words]
    if not wnids or len(set(wnids)) < len(wnids):
        raise UserError(f'{str(path)!r} must name every class once, one id a line')
    return wnids


def class_indices(folders: Sequence[str], wnids: Sequence[str]) -> List[int]:
    """Outputs of the classifier that belong to folders named by WordNet id, in their order.

    Raises:
        UserError: A folder is named by no known id.
    """
    index = {wnid: i for i, wnid in enumerate(wnids)}
    for folder in folders:
        if folder not in index:
            raise UserError(f'folder {folder!r} is not one of the {len(index)} class ids '
                             '(WordNet ids such as n01440764)')
    return [index[folder] for folder in folders]


def count_correct(logits: Tensor, labels: Tensor, classes: Optional[Sequence[int]] = None) -> int:
    """Images whose largest logit is that of their label.

    Args:
        logits: (B, all classes), floating point.
        labels: (B,), int64, indices among all classes.
        classes: Indices of the classes in question; the other logits are ignored, as on
            ImageNet-A and -R, which have images of 200 classes each. None: all classes.

    Raises:
        UserError: A logit is not finite.
    """
    if not torch.isfinite(logits).all():
        raise UserError('the classifier gives logits that are not finite')
    if classes is None:
        predicted = logits.argmax(1)
    else:
        chosen = torch.as_tensor(classes, device=logits.device)
        predicted = chosen[logits[:, chosen].argmax(1)]
    return int((predicted == labels.to(logits.device)).sum())


def corruption_means(errors: SeverityErrors) -> Dict[str, float]:
    """Mean error over the five severities of each corruption.

    Raises:
        UserError: No corruption, an unknown one, or not one error a severity.
    """
    if not errors:
        raise UserError('mean errors need at least one corruption')
    for name, values in errors.items():
        if name not in ALEXNET_ERRORS:
            raise UserError(f'{name!r} is not one of the corruptions {", ".join(CORRUPTIONS)}')
        if len(values) != len(SEVERITIES):
            raise UserError(f'{name} needs {len(SEVERITIES)} errors, one a severity, '
                             f'not {len(values)}')
    return {name: sum(values) / len(values) for name, values in errors.items()}


def mean_error(errors: SeverityErrors) -> float:
    """Plain mean error over corruptions and severities, not normalised."""
    means = corruption_means(errors)
    return sum(means.values()) / len(means)


def corruption_errors(errors: SeverityErrors) -> Dict[str, float]:
    """CE: mean error of each corruption in percent of AlexNet's (Hendrycks and Dietterich 2019)."""
    return {name: 100 * mean / ALEXNET_ERRORS[name]
            for name, mean in corruption_means(errors).items()}


def mean_corruption_error(errors: SeverityErrors) -> float:
    """mCE: mean of the CE over the corruptions given. It is the published one if all 15 are."""
    ratios = corruption_errors(errors)
    return sum(ratios.values()) / len(ratios)


def average_score(imagenet_a: float, imagenet_r: float, imagenet_sketch: float,
                  mce: float) -> float:
    """Mean of three top-1 accuracies and 100 - mCE (appendix A of the WaMIM paper)."""
    return (imagenet_a + imagenet_r + imagenet_sketch + 100 - mce) / 4


def same_size(parts: Parts) -> bool:
    """Whether the folders of ImageNet-C hold the same number of images, as the published ones."""
    return len({part['images'] for name, part in parts.items()
                if name.startswith('imagenet_c/')}) < 2


def summarize(parts: Parts) -> dict:
    """Every score that follows from evaluated folders.

    Args:
        parts: By name, dicts with ``top1`` in percent and ``images``, their number.

    Returns:
        ``top1`` of the variants; ``average_score``, None unless everything is there; and, with
        parts of ImageNet-C, ``imagenet_c``: ``severity_errors``, ``corruption_errors`` (CE),
        ``mean_error`` (plain), ``mce`` (AlexNet = 100), ``corruptions`` (how many have all
        severities: those alone are averaged) and ``partial`` (whether anything is missing).
    """
    found = {variant: parts[variant]['top1'] for variant in VARIANTS if variant in parts}
    severities = {}
    for name in CORRUPTIONS:
        names = {severity: f'imagenet_c/{name}/{severity}' for severity in SEVERITIES}
        done = {s: 100 - parts[part]['top1'] for s, part in names.items() if part in parts}
        if done:
            severities[name] = done
    summary = dict(top1=found, average_score=None)
    if not severities:
        return summary
    whole = {name: list(done.values()) for name, done in severities.items()
             if len(done) == len(SEVERITIES)}
    partial = len(whole) < len(CORRUPTIONS) or not same_size(parts)
    summary['imagenet_c'] = dict(
        severity_errors=severities, corruptions=len(whole), partial=partial,
        corruption_errors=corruption_errors(whole) if whole else {},
        mean_error=mean_error(whole) if whole else None,
        mce=mean_corruption_error(whole) if whole else None)
    if len(found) == len(VARIANTS) and not partial:
        summary['average_score'] = average_score(**found, mce=summary['imagenet_c']['mce'])
    return summary


def format_table(parts: Parts) -> str:
    """The scores as text; sets that are not of the published size are marked.

    Args:
        parts: As in ``summarize``, with ``classes``, the number of class folders, too.
    """
    summary = summarize(parts)
    lines = []
    small = [name for name, part in parts.items()
             if (part['classes'], part['images']) != PUBLISHED[name.split('/')[0]]]
    for name, top1 in summary['top1'].items():
        part = parts[name]
        lines.append(f'{name:<18} top-1 {top1:6.2f} %  {part["images"]} images in '
                     f'{part["classes"]} classes')
    corrupted = summary.get('imagenet_c')
    if corrupted:
        lines.append(f'{"imagenet_c":<18} error in % at severity 1 to 5, CE (AlexNet = 100)')
        for name, errors in corrupted['severity_errors'].items():
            row = ' '.join(f'{errors[s]:6.2f}' if s in errors else '     -' for s in SEVERITIES)
            ratio = corrupted['corruption_errors'].get(name)
            lines.append(f'  {name:<18}{row}  ' + ('     -' if ratio is None else f'{ratio:6.2f}'))
        if corrupted['mce'] is not None:
            label = f'PARTIAL, {corrupted["corruptions"]} of {len(CORRUPTIONS)} corruptions: ' \
                if corrupted['partial'] else ''
            lines.append(f'{label}mean error {corrupted["mean_error"]:.2f} % (plain)')
            lines.append(f'{label}mCE {corrupted["mce"]:.2f} (AlexNet = 100)')
    if summary['average_score'] is not None:
        lines.append(f'average score {summary["average_score"]:.2f} '
                     '(mean of three top-1 and 100 - mCE)')
    if small:
        names = sorted({name.split('/')[0] for name in small})
        lines.append(f'not comparable with published figures: {", ".join(names)} '
                     'differ from the published sets in classes or images')
    return '\n'.join(lines)
