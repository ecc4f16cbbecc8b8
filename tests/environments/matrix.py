"""Installs the wheel in several environments and tries it in each: `make matrix`.

    python -m tests.environments.matrix [NAME ...] [--keep DIR]

An environment is a virtual one of its own, made anew, in which nothing but the wheel and its extras
are installed; the trial (trial.py) runs in an empty directory. Prints a table for docs/install.md.
Some GB to download, and about five minutes an environment on 2 cores.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[2]
# Of each environment: what pip is given besides the wheel's extra.
ENVIRONMENTS = {
    'pins': ('onedl,export', ['transformers', '-c', str(ROOT / 'requirements/constraints.txt')]),
    'originals': ('openmmlab,export', ['transformers', 'torch==2.8.*', 'torchvision==0.23.*',
                                       'numpy<2.3']),
    'newest': ('onedl,export', ['transformers', 'pycocotools', '--upgrade', '--upgrade-strategy',
                                'eager']),
}


def run(*command, cwd: Path) -> str:
    """Output of a command.

    Raises:
        RuntimeError: It failed; the message ends with what it said last.
    """
    # What is on a PYTHONPATH pip would take to be installed.
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, text=True,
                          capture_output=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError('\n'.join([f'failed: {" ".join(map(str, command))}', *said]))
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel, built as pip builds it for anybody."""
    run(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--wheel-dir', folder, ROOT,
        cwd=folder)
    return next(folder.glob('mmwamim-*.whl'))


def trial(name: str, wheel: Path, folder: Path) -> dict:
    """Makes an environment and tries the wheel in it."""
    extra, options = ENVIRONMENTS[name]
    started = time.perf_counter()
    run(sys.executable, '-m', 'venv', folder / 'venv', cwd=folder)
    python = folder / 'venv/bin/python'
    run(python, '-m', 'pip', 'install', '--quiet', '--no-cache-dir', f'{wheel}[{extra}]', *options,
        cwd=folder)
    installed = time.perf_counter()
    empty = folder / 'empty'
    empty.mkdir()
    shutil.copy(Path(__file__).with_name('trial.py'), folder)
    said = run(python, '-W', 'ignore', folder / 'trial.py', cwd=empty)
    found = json.loads(said.strip().splitlines()[-1])
    if max(found['apart'].values()) > 1e-4:
        raise RuntimeError(f'features differ by {found["apart"]}')
    return dict(found, install_seconds=round(installed - started),
                trial_seconds=round(time.perf_counter() - installed))


def table(results: dict) -> List[str]:
    """Markdown, a row an environment."""
    lines = ['| environment | Python | torch, numpy | MMEngine, mmcv, mmpretrain | '
             'transformers | loss | install, s | trial, s |', '|---' * 8 + '|']
    python = '.'.join(map(str, sys.version_info[:3]))
    for name, found in results.items():
        have = found['versions']
        toolbox = [f'{key} {value}' for key, value in have.items() if 'mm' in key]
        lines.append(f'| {name} | {python} | {have["torch"]}, {have["numpy"]} | '
                     f'{", ".join(toolbox)} | {have["transformers"]} | {found["loss"]:.4f} | '
                     f'{found["install_seconds"]} | '
                     f'{found["trial_seconds"]} |')
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', default=list(ENVIRONMENTS), metavar='NAME',
                        help=f'of {", ".join(ENVIRONMENTS)} (all)')
    parser.add_argument('--keep', type=Path, help='a folder to keep the environments in')
    args = parser.parse_args()
    unknown = set(args.names) - set(ENVIRONMENTS)
    if unknown:
        parser.error(f'there are {", ".join(ENVIRONMENTS)}, not {", ".join(sorted(unknown))}')
    results, failed = {}, False
    with tempfile.TemporaryDirectory() as scratch:
        base = args.keep or Path(scratch)
        base.mkdir(parents=True, exist_ok=True)
        wheel = build(base)
        for name in args.names:
            folder = base / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                results[name] = trial(name, wheel, folder)
            except RuntimeError as error:
                failed = True
                print(f'{name}: {error}', flush=True)
            if not args.keep:
                shutil.rmtree(folder)
    print('\n'.join(table(results)))
    sys.exit(failed)


if __name__ == '__main__':
    main()
