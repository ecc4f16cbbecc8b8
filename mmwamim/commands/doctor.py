"""Looks at this machine: versions, GPUs, what is missing and how to install it, what a step costs.

    mmwamim doctor
    mmwamim doctor --arch vit_s --batch-size 64

Exit code 1 if something that pre-training needs is missing or broken. A step is measured as
training does it, with its update, on noise.
"""
import argparse
import importlib
import os
import platform
import shutil
import statistics
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Dict, List, NamedTuple, Optional, Tuple

from mmwamim.cores import granted_cores
from mmwamim.errors import UserError
from mmwamim.version import __version__

Version = Tuple[int, ...]


class Package(NamedTuple):
    """A package that something here uses."""

    module: str
    names: Tuple[str, ...]
    """Of its distributions: the maintained one first, then the original."""
    tried: Tuple[str, str]
    """First and last version that was tried, over all distributions."""
    needed_for: str
    """'' if nothing works without it."""


PACKAGES = (
    Package('torch', ('torch', ), ('2.8.0', '2.14.1'), ''),
    Package('torchvision', ('torchvision', ), ('0.23.0', '0.29.1'), ''),
    Package('numpy', ('numpy', ), ('2.2.6', '2.5.5'), ''),
    Package('mmengine', ('onedl-mmengine', 'mmengine'), ('0.10.7', '0.10.12'), ''),
    Package('mmcv', ('onedl-mmcv', 'mmcv', 'mmcv-lite'), ('2.1.0', '2.3.6'), ''),
    Package('mmpretrain', ('onedl-mmpretrain', 'mmpretrain'), ('1.2.0', '1.3.6'), ''),
    Package('pywt', ('PyWavelets', ), ('1.8.0', '1.9.0'), ''),
    Package('matplotlib', ('matplotlib', ), ('3.9.0', '3.11.0'), ''),
    Package('skimage', ('scikit-image', ), ('0.25.0', '0.26.0'), 'other targets (HOG)'),
    Package('sklearn', ('scikit-learn', ), ('1.5.0', '1.9.0'), 'the quick start'),
    Package('mmdet', ('onedl-mmdetection', 'mmdet'), ('3.3.0', '3.5.1'), 'detection'),
    Package('mmseg', ('onedl-mmsegmentation', 'mmsegmentation'), ('1.2.2', '1.4.2'),
            'segmentation'),
    Package('safetensors', ('safetensors', ), ('0.4.0', '0.8.0'), 'export --to transformers, timm'),
    Package('timm', ('timm', ), ('1.0.0', '1.0.26'), 'loading what is exported to it'),
    Package('transformers', ('transformers', ), ('4.40.0', '5.3.0'),
            'loading what is exported to it'),
    Package('onnx', ('onnx', ), ('1.17.0', '1.21.0'), 'export --to onnx'),
    Package('onnxscript', ('onnxscript', ), ('0.3.0', '0.7.0'), 'export --to onnx'))


@dataclass
class Findings:
    """What was found: lines to print, and what is wrong, most important first."""

    lines: List[str] = field(default_factory=list)
    faults: List[str] = field(default_factory=list)
    """Pre-training does not work with these."""
    advice: List[str] = field(default_factory=list)

    def section(self, title: str, rows: List[Tuple[str, ...]]) -> None:
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
        self.lines += [title, *('  ' + '  '.join(cell.ljust(width) for cell, width in zip(
            row, widths)).rstrip() for row in rows), '']


def parse_version(text: str) -> Version:
    """The numbers of a version: '2.11.0+cu130' gives (2, 11, 0)."""
    numbers = []
    for part in text.split('+')[0].split('.'):
        digits = ''.join(character for character in part if character.isdigit())
        if not part[:1].isdigit():
            break
        numbers.append(int(digits))
        if digits != part:  # '0rc1': what follows is no release
            numbers[-1] = int(part[:len(part) - len(part.lstrip('0123456789'))] or digits)
            break
    return tuple(numbers)


def installed(package: Package) -> Dict[str, str]:
    """The distributions of a package that are here, with their versions."""
    found = {}
    for name in package.names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def judge(package: Package, found: Dict[str, str]) -> Tuple[str, Optional[str]]:
    """A word on a package, and what to do, if anything."""
    install = f'pip install {package.names[0]}'
    if not found:
        return 'missing', install
    if len(found) > 1:
        names = ' '.join(found)
        return 'mixed', (f'{" and ".join(found)} overwrite each other\'s files: '
                         f'pip uninstall -y {names} && {install}')
    have = parse_version(next(iter(found.values())))
    first, last = map(parse_version, package.tried)
    if have < first:
        return 'older than tried', f'pip install --upgrade {next(iter(found))}'
    if have[:2] > last[:2]:
        return 'newer than tried', None
    return 'tried', None


def look_at_packages(findings: Findings) -> None:
    rows = []
    for package in PACKAGES:
        found = installed(package)
        word, action = judge(package, found)
        rows.append((package.module, ', '.join(f'{name} {number}' for name, number
                                               in found.items()) or '-',
                     f'{package.tried[0]} to {package.tried[1]}', word))
        purpose = f' (for {package.needed_for})' if package.needed_for else ''
        if action and not package.needed_for and word in ('missing', 'mixed'):
            findings.faults.append(f'{package.module} is {word}: {action}')
        elif action:
            findings.advice.append(f'{package.module} is {word}{purpose}: {action}')
        if found and not package.needed_for:
            try:
                importlib.import_module(package.module)
            except Exception as error:  # whatever a broken installation raises
                findings.faults.append(f'{package.module} cannot be imported: '
                                       f'{type(error).__name__}: {error}')
    findings.section('Packages (module, installed, tried)', rows)


def look_at_ops(findings: Findings) -> None:
    """mmdet and mmseg need the compiled part of mmcv."""
    try:
        importlib.import_module('mmcv._ext')
    except ImportError:
        if installed(next(one for one in PACKAGES if one.module == 'mmdet')) or \
                installed(next(one for one in PACKAGES if one.module == 'mmseg')):
            findings.advice.append('mmcv is here without its compiled operations, which mmdet and '
                                   'mmseg need: requirements/mmcv_ops.sh of the repository')


def look_at_machine(findings: Findings) -> None:
    import torch

    from mmwamim.memory import free_memory
    rows = [('mmwamim', __version__), ('Python', platform.python_version()),
            ('system', platform.platform()),
            ('cores', f'{granted_cores()} granted of {os.cpu_count()}'),
            ('memory', f'{free_memory() / 2**30:.1f} GiB free'),
            ('disk here', f'{shutil.disk_usage(".").free / 2**30:.0f} GiB free')]
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        half = '' if torch.cuda.is_bf16_supported() else ', no bfloat16: the recipes want it'
        rows.append((f'GPU {number}', f'{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB{half}'))
    if not torch.cuda.is_available():
        built = f'this torch was built for CUDA {torch.version.cuda}' if torch.version.cuda \
            else 'this torch was built without CUDA'
        rows.append(('GPU', f'none that torch can use; {built}'))
    findings.section('Machine', rows)


def look_at_step(findings: Findings, arch: str, batch: int, steps: int) -> None:
    """Measures training steps of an encoder."""
    import torch

    from mmwamim.engine.config.reading import read_config
    from mmwamim.engine.training.measure import build_step, build_update, run_step

    from .architectures import find_config
    from .automatic import device as best_device
    from .calls import as_a_call
    device = best_device()
    cfg = read_config(find_config(arch))
    with as_a_call(), torch.random.fork_rng():
        step = build_step(cfg, batch, device)
        update = build_update(step, cfg, amp=device == 'cuda')
        times = [run_step(step, device, device == 'cuda', update) for _ in range(steps + 1)][1:]
    seconds = statistics.median(times)
    rate = batch / seconds
    findings.section('A step here', [
        ('encoder', f'{arch}, images of {cfg.model.backbone.get("img_size")} pixels, batch '
                    f'{batch}, {device}, {torch.get_num_threads()} threads'),
        ('time', f'{seconds:.3g} s ({min(times):.3g} to {max(times):.3g} in {steps} steps), '
                 f'{rate:.3g} images/s, reading them not counted'),
        ('so', f'10,000 images, 100 epochs: {_duration(1e6 / rate)}')])


def _duration(seconds: float) -> str:
    for name, length in (('days', 86400), ('hours', 3600), ('minutes', 60)):
        if seconds >= 2 * length:
            return f'{seconds / length:.1f} {name}'
    return f'{seconds:.0f} seconds'


def examine(*, arch: Optional[str] = None, batch_size: int = 8, steps: int = 3) -> Findings:
    """Looks at packages, machine and the cost of a step.

    Args:
        arch: Encoder whose step is measured. Default: that which ``pretrain`` would take.
        batch_size: Of the step.
        steps: How many are measured; 0: none.

    Example:
        >>> mmwamim.commands.doctor.examine(steps=0).faults  # doctest: +SKIP
        []
    """
    if batch_size < 1 or steps < 0:
        raise UserError('--batch-size must be at least 1 and --steps at least 0, not '
                        f'{batch_size} and {steps}')
    findings = Findings()
    look_at_packages(findings)
    if findings.faults:
        return findings
    look_at_ops(findings)
    look_at_machine(findings)
    if steps:
        from .automatic import choose_arch
        look_at_step(findings, arch or str(choose_arch().value), batch_size, steps)
    return findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--arch', help='encoder whose step is measured (default: that which '
                        'pretrain would take)')
    parser.add_argument('--batch-size', type=int, default=8, metavar='N')
    parser.add_argument('--steps', type=int, default=3, metavar='N',
                        help='how many are measured; 0: none')


def run(args: argparse.Namespace) -> int:
    found = examine(**vars(args))
    print('\n'.join(found.lines))
    for title, texts in (('Broken:', found.faults), ('Missing or untried:', found.advice)):
        if texts:
            print('\n'.join([title, *(f'  {text}' for text in texts)]))
    if not found.faults:
        print('Pre-training works here: mmwamim pretrain FOLDER')
    return int(bool(found.faults))
