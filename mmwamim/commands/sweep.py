r"""Runs a list of configs one after another and collects one table: what is compared with what.

    mmwamim sweep vit_b_mask_ratio_04 vit_b_mask_ratio_06 --data IMAGENET --frozen
    mmwamim sweep configs/evidence/*.py --data CIFAR10 --seeds 0 1 2 --frozen \
        --finetune configs/trials/cifar10_finetune.py --out work_dirs/evidence

Every config, given by path or name, is pre-trained with every seed; then its frozen encoder is
probed (``--frozen``: k-NN, logistic regression, effective rank), fine-tuned (``--finetune
CONFIG``), or both. ``--curve N`` probes a checkpoint of each N epochs too and draws accuracy over
epochs and over time, OUT/curves.png. What is finished is not done again, and what was interrupted
is resumed: start the same line again; with other options or a changed config it stops at what was
made otherwise, and names the fields. The table is written after each run: OUT/table.md,
OUT/table.csv, OUT/table.png and OUT/runs.json. ``--launch 'tools/dist_train.sh {config} 8'`` starts
training on several GPUs.
"""
import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

from mmwamim.datasets.splits import settle_split
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import PREEMPTED, Preempted, UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.words import option
from mmwamim.visualization import read_accuracies, read_scalars

from .architectures import configs_folder, find_config
from .fields import check_counts
from .sweep_curves import draw_curves, keeping, probe_checkpoints, seconds_by_epoch
from .sweep_table import Results, write_tables

Path_ = Union[str, Path]
MODULE = [sys.executable, '-W', 'ignore', '-m', 'mmwamim']
LAUNCH = f'{shlex.join(MODULE)} train {{config}}'


@dataclass(frozen=True)
class Plan:
    """What is done with every config and seed."""

    data: Path_
    out: Path
    epochs: Optional[int]
    frozen: bool
    curve: Optional[int]
    most: Optional[int]
    finetune: Optional[Path]
    finetune_epochs: Optional[int]
    launch: str
    cfg_options: List[str]
    digests: Dict[Path, str]
    """Of the configs as they are read now."""

    def start(self, config: Path) -> List[str]:
        """The command that trains a config, without its options; a script of tools/ is found from
        anywhere."""
        program, *rest = shlex.split(self.launch.format(config=shlex.quote(str(config))))
        within = configs_folder().parent / program
        here = not within.is_file() or Path(program).is_file()
        return [program if here else str(within), *rest]


@dataclass(frozen=True)
class Swept:
    """What a sweep made."""

    runs: Results = field(default_factory=dict)
    """The figures of each config, by its name, a dict for each seed."""
    failed: List[str] = field(default_factory=list)
    """Config, seed and reason of each run that failed."""
    table: Optional[Path] = None
    """Markdown; beside it are table.csv, table.png and runs.json. None if every run failed."""


@settles_arguments
def sweep(configs: Union[Path_, Sequence[Path_]], data: Path_, *, out: Path_ = 'work_dirs/sweep',
          seeds: Sequence[int] = (0, ), epochs: Optional[int] = None, frozen: bool = False,
          curve: Optional[int] = None, most: Optional[int] = None, finetune: Optional[Path_] = None,
          finetune_epochs: Optional[int] = None, launch: str = LAUNCH,
          cfg_options: Sequence[str] = ()) -> Swept:
    """Pre-trains configs with seeds, judges their encoders, and writes a table.

    Args:
        configs: By path or name.
        data: Holds ``train/<class>/*`` and ``val/<class>/*``.
        out: Folder for runs and table.
        seeds: Of pre-training and fine-tuning.
        epochs: Of pre-training. Default: the configs'.
        frozen: Whether to probe the frozen encoder.
        curve: Probe a checkpoint of each so many epochs, too. Default: none.
        most: At most as many images of each split to probe.
        finetune: A config to fine-tune with. Default: none.
        finetune_epochs: Default: that config's.
        launch: The command that starts training in a process of its own, with ``{config}`` in it.
        cfg_options: ``KEY=VALUE``, fields of the pre-training configs.

    Returns:
        What was made, now and before. A run that fails is named there and does not stop the others.

    Raises:
        UserError: Data or a config cannot be read, or two configs have the same file name.
        Preempted: A run was asked to stop, and has saved; the same call goes on.

    Examples:
        >>> mmwamim.sweep(['vit_s_100e', 'mae_vit_s_300e'], 'imagenet',  # doctest: +SKIP
        ...               epochs=10, frozen=True).table
        PosixPath('/home/me/work_dirs/sweep/table.md')
    """
    check_counts(epochs=epochs, curve=curve, most=most, finetune_epochs=finetune_epochs)
    settle_split(data, 'train')
    if frozen or finetune:
        settle_split(data, 'val')
    configs = [find_config(one) for one in (
        [configs] if isinstance(configs, (str, Path)) else configs)]
    if not configs:
        raise UserError('configs: name at least one to pre-train')
    if len({path.stem for path in configs}) != len(configs):
        raise UserError('two configs have the same file name, under which results are kept')
    finetune = find_config(finetune) if finetune else None
    # A config that cannot be read should not be found out in a week.
    digests = {path: hashlib.sha256(read_config(path).pretty_text.encode()).hexdigest()
               for path in [*configs, *filter(None, [finetune])]}
    plan = Plan(data, Path(out), epochs, frozen, curve, most, finetune, finetune_epochs, launch,
                list(cfg_options), digests)
    return run_all([(config, seed) for seed in seeds for config in configs], plan)


def run_all(todo: Sequence[tuple], plan: Plan) -> Swept:
    """All runs, a config and a seed each, with the table written after each of them."""
    runs: Results = {}
    failed: List[str] = []
    started, worked = time.time(), 0
    for number, (config, seed) in enumerate(todo):
        name, before = config.stem, time.time()
        left: Optional[float] = (time.time() - started) / worked * (len(todo) - number) \
            if worked else None
        print(f'[{number + 1}/{len(todo)}] {name}, seed {seed}'
              + (f', about {left / 60:.0f} min left in all' if left else ''), flush=True)
        try:
            result = run_one(config, seed, plan)
        except Preempted as stopped:
            print(f'asked to stop: {stopped.path}; the same line goes on', flush=True)
            raise
        except RuntimeError as error:  # the others should not wait for this one to be mended
            failed.append(f'{name}, seed {seed}: {error}')
            print(f'error: {failed[-1]}', file=sys.stderr, flush=True)
            continue
        runs.setdefault(name, []).append(result)
        worked += time.time() - before > 5  # what was finished already says nothing about time
        write_tables(runs, plan.out)
        if plan.curve:
            draw_curves(runs, plan.out / 'curves.png')
    return Swept(runs, failed, plan.out / 'table.md' if runs else None)


def execute(command: List, log: Path) -> None:
    """Runs a command; its output goes to a log.

    Raises:
        RuntimeError: It failed; the message ends with the last lines of the log.
        Preempted: It was asked to stop, and has saved.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {'PYTHON': sys.executable, **os.environ}  # which tools/environment.sh asks for
    with log.open('a') as file:
        code = subprocess.run([str(part) for part in command], env=environment, stdout=file,
                              stderr=subprocess.STDOUT).returncode
    if code == PREEMPTED:
        raise Preempted(log.with_suffix(''))
    if code:
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-5:])
        raise RuntimeError(f'exit code {code}; {log} ends with\n{tail}')


def agree(result: dict, stage: str, settings: dict, done: Path) -> None:
    """Notes how a stage of a run is made.

    Raises:
        RuntimeError: It was made, or begun, in another way; the message names the fields.
    """
    notes = result.setdefault('settings', {})
    if stage == 'pretrain' and 'options' in result:  # of an earlier version, which noted no others
        notes.setdefault(stage, dict(options=result['options']))
    before = notes.get(stage, {})
    differ = [f'{name}: {before[name]!r} -> {value!r}' for name, value in settings.items()
              if name in before and before[name] != value]
    if differ:
        raise RuntimeError(f'{stage} in {done.parent} was made with other settings '
                           f'({"; ".join(differ)}): give another {option("out")}, or '
                           'remove that folder')
    notes[stage] = {**settings, **before}
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(result, indent=2))


def run_one(config: Path, seed: int, plan: Plan) -> dict:
    """Pre-trains, probes and fine-tunes; skips what is finished."""
    work = (plan.out / config.stem / f'seed{seed}').resolve()
    done = work / 'result.json'
    result = json.loads(done.read_text()) if done.is_file() else {}
    data = str(Path(plan.data).resolve())
    agree(result, 'pretrain', dict(data=data, epochs=plan.epochs, options=plan.cfg_options,
                                   config_sha256=plan.digests[config]), done)
    if 'pretrain_seconds' not in result:
        result.update(pretrain(config, seed, plan, work))
        done.write_text(json.dumps(result, indent=2))
    if plan.frozen:
        agree(result, 'frozen', dict(data=data, most=plan.most), done)
        if 'linear' not in result:
            found = probe(config, plan, work / 'pretrain/encoder.pth', work / 'frozen.json',
                          '--every-level')
            result.update(linear=found['linear_top1'], knn=found['knn_top1_k20'],
                          effective_rank=found['effective_rank'],
                          linear_all=found['levels'][-1]['linear_top1'],
                          linear_levels=[level['linear_top1'] for level in found['levels']],
                          knn_levels=[level['knn_top1_k20'] for level in found['levels']])
            done.write_text(json.dumps(result, indent=2))
    if plan.curve:
        agree(result, 'curve', dict(data=data, most=plan.most), done)
        result['curve'] = probe_checkpoints(
            work, plan.curve, lambda checkpoint, kept: probe(config, plan, checkpoint, kept))
        done.write_text(json.dumps(result, indent=2))
    if plan.finetune:
        agree(result, 'finetune', dict(data=data, epochs=plan.finetune_epochs,
                                       config_sha256=plan.digests[plan.finetune]), done)
        if 'finetune' not in result:
            result.update(fine_tune(seed, plan, work))
            done.write_text(json.dumps(result, indent=2))
    return result


def pretrain(config: Path, seed: int, plan: Plan, work: Path) -> dict:
    """Trains an encoder in a process of its own; what its log says."""
    execute([*plan.start(config), '--data', plan.data, '--work-dir', work / 'pretrain', '--resume',
             *(['--epochs', plan.epochs] if plan.epochs else []),
             '--cfg-options', f'randomness.seed={seed}',
             *(keeping(plan.curve) if plan.curve else []), *plan.cfg_options],
            work / 'pretrain.log')
    last = read_scalars(work / 'pretrain')[-1]
    return dict(config=str(config), seed=seed, epochs=last['epoch'],
                pretrain_seconds=round(max(seconds_by_epoch(work / 'pretrain').values()), 1),
                loss=last['loss'], options=plan.cfg_options,
                explained={key: round(value, 4) for key, value in last.items()
                           if key.startswith('explained_')})


def probe(config: Path, plan: Plan, checkpoint: Path, out: Path, *options: str) -> dict:
    """Judges a frozen encoder in a process of its own, which has a log; its figures."""
    execute([*MODULE, 'probe', checkpoint, plan.data, '--config', config, '--out', out, *options,
             *(['--most', plan.most] if plan.most else [])], out.with_suffix('.log'))
    return json.loads(out.read_text())


def fine_tune(seed: int, plan: Plan, work: Path) -> dict:
    """Fine-tunes the encoder in a process of its own; what its log says."""
    execute([*plan.start(plan.finetune), '--data', plan.data, '--pretrained',
             work / 'pretrain/encoder.pth', '--work-dir', work / 'finetune', '--resume',
             *(['--epochs', plan.finetune_epochs] if plan.finetune_epochs else []),
             '--cfg-options', f'randomness.seed={seed}'], work / 'finetune.log')
    top1 = read_accuracies(work / 'finetune')['accuracy/top1']
    return dict(finetune=top1[max(top1)],
                finetune_seconds=round(max(seconds_by_epoch(work / 'finetune').values()), 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='configs to pre-train')
    parser.add_argument('--data', required=True, metavar='FOLDER',
                        help='holds train/<class>/* and val/<class>/* (or test/<class>/*)')
    parser.add_argument('--out', default=Path('work_dirs/sweep'), type=Path)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument('--epochs', type=int, help='of pre-training, instead of the configs\'')
    parser.add_argument('--frozen', action='store_true', help='probe the frozen encoder')
    parser.add_argument('--curve', type=int, metavar='N',
                        help='probe a checkpoint of each N epochs too, and draw curves')
    parser.add_argument('--most', type=int, help='at most as many images of each split to probe')
    parser.add_argument('--finetune', metavar='CONFIG', help='fine-tune with this config')
    parser.add_argument('--finetune-epochs', type=int)
    parser.add_argument('--launch', default=LAUNCH,
                        help='how training is started (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override fields of the pre-training configs')


def run(args: argparse.Namespace) -> None:
    swept = sweep(**vars(args))
    if swept.table:
        print(swept.table.read_text())
    if swept.failed:
        count = len(swept.failed) + sum(map(len, swept.runs.values()))
        raise UserError(f'{len(swept.failed)} of {count} runs failed; the same line starts them '
                        'again\n' + '\n'.join(line.split(';')[0] for line in swept.failed))
