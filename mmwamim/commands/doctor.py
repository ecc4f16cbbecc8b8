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
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from packaging.requirements import Requirement

from mmwamim.environment import OPS, problems
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.words import option
from mmwamim.machine.cores import granted_cores
from mmwamim.version import __version__

from .main import quiet_import

FLAVOURS = ('onedl', 'openmmlab')  # extras of which one is needed
DEVELOPING = ('tests', 'docs')  # extras that no user needs


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


def requirements() -> Dict[str, List[Requirement]]:
    """What this package asks for, by extra; '' holds what it always needs.

    Of a source tree those of its pyproject.toml, otherwise those of the installed package.
    """
    tree = Path(__file__).resolve().parents[2] / 'pyproject.toml'
    try:
        import tomllib
        project = tomllib.loads(tree.read_text())['project']
        groups = {'': project['dependencies'], **project['optional-dependencies']}
        return {name: [Requirement(text) for text in texts] for name, texts in groups.items()}
    except (ImportError, OSError):  # Python 3.10, or a wheel
        pass
    groups: Dict[str, List[Requirement]] = {}
    for text in requires('mmwamim') or []:
        one = Requirement(text)
        extra = str(one.marker).partition('extra == "')[2].rstrip('"') if one.marker else ''
        groups.setdefault(extra, []).append(one)
    return groups


def installed(name: str) -> Optional[str]:
    """The version of a distribution; None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def judge(wanted: Requirement, have: Optional[str]) -> str:
    """A word on a package.

    Examples:
        >>> [judge(Requirement('torch>=2.8,<3'), have) for have in ('2.11.0', '2.7.1', None)]
        ['in range', 'out of range', 'missing']
    """
    if have is None:
        return 'missing'
    fits = wanted.specifier.contains(have, prereleases=True)
    return 'in range' if fits else 'out of range'


def look_at_packages(findings: Findings) -> None:
    """Every package that this one asks for, against the range that was tried."""
    rows, groups = [], requirements()
    flavour = next((name for name in FLAVOURS if any(
        installed(one.name) for one in groups.get(name, []))), FLAVOURS[0])
    for group, wanted in groups.items():
        if group in DEVELOPING or (group in FLAVOURS and group != flavour):
            continue
        needed = group in ('', flavour)
        missing, untried = [], []
        for one in wanted:
            have = installed(one.name)
            word = judge(one, have)
            rows.append((one.name, have or '-', str(one.specifier) or 'any', word,
                         '' if needed else f'[{group}]'))
            if word == 'missing':
                missing.append(one.name)
            elif word != 'in range':
                untried.append(f"pip install '{one}'")
        if missing:
            how = f"pip install 'mmwamim[{group}]'" if group else f'pip install {" ".join(missing)}'
            (findings.faults if needed else findings.advice).append(
                f'{", ".join(missing)} missing: {how}')
        findings.advice += [f'out of the range that was tried: {text}' for text in untried]
    findings.section('Packages: installed, range that was tried, extra', rows)
    errors, doubts = problems()
    findings.faults += errors
    findings.advice += doubts


def look_at_imports(findings: Findings) -> None:
    """Whether what is installed can be imported, and mmcv has its compiled part."""
    for module in ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmwamim.models'):
        try:
            quiet_import(module)
        except Exception as error:  # whatever a broken installation raises
            findings.faults.append(f'{module} cannot be imported: {type(error).__name__}: {error}')
            return
    boxes = [name for name in ('onedl-mmdetection', 'mmdet', 'onedl-mmsegmentation',
                               'mmsegmentation') if installed(name)]
    try:
        importlib.import_module('mmcv._ext')
    except ImportError:
        if boxes:
            findings.advice.append(f'{" and ".join(boxes)} work only {OPS}, which are not here')


def look_at_machine(findings: Findings) -> None:
    import torch

    from mmwamim.machine.memory import free_memory
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
    from mmwamim.machine.devices import best_device

    from .architectures import find_config
    from .calls import as_a_call, quiet_logger
    device = best_device()
    cfg = read_config(find_config(arch))
    with as_a_call(), quiet_logger(), torch.random.fork_rng(devices=[]):
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


@settles_arguments
def examine(*, arch: Union[str, Path, None] = None, batch_size: int = 8,
            steps: int = 3) -> Findings:
    """Looks at packages, machine and the cost of a step.

    Args:
        arch: Encoder whose step is measured. Default: that which ``pretrain`` would take.
        batch_size: Of the step.
        steps: How many are measured; 0: none.

    Examples:
        >>> mmwamim.commands.doctor.examine(steps=0).faults  # doctest: +SKIP
        []
    """
    if batch_size < 1 or steps < 0:
        raise UserError(f'{option("batch_size")} must be at least 1 and {option("steps")} at least '
                        f'0, not {batch_size} and {steps}')
    findings = Findings()
    look_at_packages(findings)
    if not findings.faults:
        look_at_imports(findings)
    if findings.faults:
        return findings
    look_at_machine(findings)
    if steps:
        from .automatic import choose_arch
        look_at_step(findings, str(arch or choose_arch().value), batch_size, steps)
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
    for title, texts in (('Broken:', found.faults), ('Missing or out of range:', found.advice)):
        if texts:
            print('\n'.join([title, *(f'  {text}' for text in texts)]))
    if not found.faults:
        print('Pre-training works here: mmwamim pretrain FOLDER')
    return int(bool(found.faults))
