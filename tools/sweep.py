r"""Runs a list of configs one after another and collects one table: what is compared with what.

    python tools/sweep.py configs/wamim/ablations/mask_ratio_*.py --data IMAGENET --frozen
    python tools/sweep.py configs/evidence/*.py --data CIFAR10 --seeds 0 1 2 --frozen \
        --finetune configs/trials/cifar10_finetune.py --out work_dirs/evidence

Every config is pre-trained with every seed; then its frozen encoder is probed (`--frozen`: k-NN,
logistic regression, effective rank), fine-tuned (`--finetune CONFIG`), or both. What is finished
is not done again, and what was interrupted is resumed: start the same line again; with other
options or a changed config it stops at what was made otherwise, and names the fields. The table is
written after each run: OUT/table.md, OUT/table.csv, OUT/table.png and OUT/runs.json.
`--launch 'tools/dist_train.sh {config} 8'` starts training on several GPUs.
"""
import argparse
import csv
import hashlib
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

import matplotlib

from mmwamim.datasets.splits import settle_split
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import PREEMPTED, Preempted, UserError, told_in_one_line
from mmwamim.visualization import read_accuracies, read_scalars, save

matplotlib.use('Agg')
ROOT = Path(__file__).resolve().parents[1]
METRICS = dict(linear='linear probe', linear_all='linear probe, all levels', knn='k-NN',
               finetune='fine-tuning')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run a list of configs and collect a table')
    parser.add_argument('configs', nargs='+', help='configs to pre-train')
    parser.add_argument('--data', required=True, metavar='FOLDER',
                        help='holds train/<class>/* and val/<class>/* (or test/<class>/*)')
    parser.add_argument('--out', default='work_dirs/sweep', type=Path)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument('--epochs', type=int, help='of pre-training, instead of the configs\'')
    parser.add_argument('--frozen', action='store_true', help='probe the frozen encoder')
    parser.add_argument('--most', type=int, help='at most as many images of each split to probe')
    parser.add_argument('--finetune', metavar='CONFIG', help='fine-tune with this config')
    parser.add_argument('--finetune-epochs', type=int)
    parser.add_argument('--launch', default=f'{shlex.quote(sys.executable)} -W ignore '
                        'tools/train.py {config}',
                        help='how training is started (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override fields of the pre-training configs')
    args = parser.parse_args()
    settle_split(args.data, 'train')
    if args.frozen or args.finetune:
        settle_split(args.data, 'val')
    names = [Path(path).stem for path in args.configs]
    if len(set(names)) != len(names):
        raise UserError('two configs have the same file name, under which results are kept')
    # A config that cannot be read should not be found out in a week.
    args.digests = {path: hashlib.sha256(read_config(path).pretty_text.encode()).hexdigest()
                    for path in [*args.configs, *filter(None, [args.finetune])]}
    return args


def execute(command: List, log: Path) -> None:
    """Runs a command; its output goes to a log.

    Raises:
        RuntimeError: It failed; the message ends with the last lines of the log.
        Preempted: It was asked to stop, and has saved.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a') as file:
        code = subprocess.run([str(part) for part in command], cwd=ROOT, stdout=file,
                              stderr=subprocess.STDOUT).returncode
    if code == PREEMPTED:
        raise Preempted(log.with_suffix(''))
    if code:
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-5:])
        raise RuntimeError(f'exit code {code}; {log} ends with\n{tail}')


def seconds_of(run: Path) -> float:
    """Time that the steps of a run took, without start-up and what a resumed run repeats."""
    entries = read_scalars(run)
    before, total = 0, 0.
    for entry in entries:
        total += entry['time'] * (entry['step'] - before)
        before = entry['step']
    return total


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
                           f'({"; ".join(differ)}): give another --out, or remove that folder')
    notes[stage] = {**settings, **before}
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(result, indent=2))


def run_one(config: str, seed: int, args: argparse.Namespace) -> dict:
    """Pre-trains, probes and fine-tunes; skips what is finished."""
    work = (args.out / Path(config).stem / f'seed{seed}').resolve()
    done = work / 'result.json'
    result = json.loads(done.read_text()) if done.is_file() else {}
    start = shlex.split(args.launch.format(config=shlex.quote(config)))
    data = str(Path(args.data).resolve())
    agree(result, 'pretrain', dict(data=data, epochs=args.epochs, options=args.cfg_options,
                                   config_sha256=args.digests[config]), done)
    if 'pretrain_seconds' not in result:
        execute([*start, '--data', args.data, '--work-dir', work / 'pretrain', '--resume',
                 *(['--epochs', args.epochs] if args.epochs else []),
                 '--cfg-options', f'randomness.seed={seed}', *args.cfg_options],
                work / 'pretrain.log')
        entries = read_scalars(work / 'pretrain')
        result.update(config=config, seed=seed, epochs=entries[-1]['epoch'],
                      pretrain_seconds=round(seconds_of(work / 'pretrain'), 1),
                      loss=entries[-1]['loss'], options=args.cfg_options,
                      explained={key: round(value, 4) for key, value in entries[-1].items()
                                 if key.startswith('explained_')})
        done.write_text(json.dumps(result, indent=2))
    encoder = work / 'pretrain/encoder.pth'
    if args.frozen:
        agree(result, 'frozen', dict(data=data, most=args.most), done)
    if args.frozen and 'linear' not in result:
        execute([sys.executable, '-W', 'ignore', 'tools/knn.py', config, encoder, '--data',
                 args.data, '--linear', '--every-level', '--out', work / 'frozen.json',
                 *(['--most', args.most] if args.most else [])], work / 'frozen.log')
        found = json.loads((work / 'frozen.json').read_text())
        result.update(linear=found['linear_top1'], knn=found['knn_top1_k20'],
                      effective_rank=found['effective_rank'],
                      linear_all=found['levels'][-1]['linear_top1'],
                      linear_levels=[level['linear_top1'] for level in found['levels']],
                      knn_levels=[level['knn_top1_k20'] for level in found['levels']])
        done.write_text(json.dumps(result, indent=2))
    if args.finetune:
        agree(result, 'finetune', dict(data=data, epochs=args.finetune_epochs,
                                       config_sha256=args.digests[args.finetune]), done)
    if args.finetune and 'finetune' not in result:
        start = shlex.split(args.launch.format(config=shlex.quote(args.finetune)))
        execute([*start, '--data', args.data, '--pretrained', encoder, '--work-dir',
                 work / 'finetune', '--resume',
                 *(['--epochs', args.finetune_epochs] if args.finetune_epochs else []),
                 '--cfg-options', f'randomness.seed={seed}'], work / 'finetune.log')
        top1 = read_accuracies(work / 'finetune')['accuracy/top1']
        result.update(finetune=top1[max(top1)],
                      finetune_seconds=round(seconds_of(work / 'finetune'), 1))
        done.write_text(json.dumps(result, indent=2))
    return result


def spread(values: List[float]) -> str:
    """Mean and, of several, the standard deviation."""
    if not values:
        return ''
    mean = statistics.mean(values)
    return f'{mean:.2f} ± {statistics.stdev(values):.2f}' if len(values) > 1 else f'{mean:.2f}'


def explained(runs: List[dict]) -> str:
    """The share of each level's target that is predicted, in percent, finest level first."""
    levels = [run['explained'].values() for run in runs if run.get('explained')]
    return ' '.join(f'{100 * statistics.mean(shares):.0f}' for shares in zip(*levels))


def write_tables(results: Dict[str, List[dict]], out: Path) -> None:
    """table.md, table.csv, table.png and runs.json of everything finished so far."""
    out.mkdir(parents=True, exist_ok=True)
    (out / 'runs.json').write_text(json.dumps(results, indent=2) + '\n')
    metrics = [name for name in METRICS if any(name in run for runs in results.values()
                                               for run in runs)]
    lines = ['| config | seeds | epochs | minutes | explained, % | ' + ' | '.join(
        METRICS[name] for name in metrics) + ' |', '|---' * (5 + len(metrics)) + '|']
    for name, runs in results.items():
        cells = [spread([run[metric] for run in runs if metric in run]) for metric in metrics]
        minutes = statistics.mean(run['pretrain_seconds'] for run in runs) / 60
        lines.append(f'| {name} | {", ".join(str(run["seed"]) for run in runs)} | '
                     f'{runs[0]["epochs"]} | {minutes:.1f} | {explained(runs)} | '
                     f'{" | ".join(cells)} |')
    (out / 'table.md').write_text('\n'.join(lines) + '\n')
    with (out / 'table.csv').open('w', newline='') as file:
        fields = ['name', 'config', 'seed', 'epochs', 'pretrain_seconds', 'loss', 'explained',
                  'linear', 'linear_levels', 'linear_all', 'knn', 'knn_levels', 'effective_rank',
                  'finetune', 'finetune_seconds']
        writer = csv.DictWriter(file, fields, extrasaction='ignore')
        writer.writeheader()
        writer.writerows(dict(run, name=name) for name, runs in results.items() for run in runs)
    if metrics:
        draw(results, metrics, out / 'table.png')


def draw(results: Dict[str, List[dict]], metrics: List[str], out: Path) -> None:
    """A dot for each run, a bar at the mean of each config, a panel for each metric."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(1.5 + 3.5 * len(metrics), 1.2 + 0.32 * len(results)), dpi=110,
                    layout='constrained')
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, metrics):
        for row, runs in enumerate(results.values()):
            values = [run[metric] for run in runs if metric in run]
            if values:
                panel.plot(values, [row] * len(values), 'o', color='C0', alpha=0.5)
                panel.plot([statistics.mean(values)], [row], '|', color='C1', markersize=16,
                           markeredgewidth=2.5)
        panel.set(xlabel=f'{METRICS[metric]}, top-1 in %')
        panel.grid(axis='both', alpha=0.3)
    panels[0].set_yticks(range(len(results)), list(results))
    panels[0].invert_yaxis()
    save(figure, out)


@told_in_one_line()
def main() -> None:
    args = parse_args()
    todo = [(config, seed) for seed in args.seeds for config in args.configs]
    results: Dict[str, List[dict]] = {}
    failed: List[str] = []
    started, worked = time.time(), 0
    for number, (config, seed) in enumerate(todo):
        name, before = Path(config).stem, time.time()
        left: Optional[float] = (time.time() - started) / worked * (len(todo) - number) \
            if worked else None
        print(f'[{number + 1}/{len(todo)}] {name}, seed {seed}'
              + (f', about {left / 60:.0f} min left in all' if left else ''), flush=True)
        try:
            result = run_one(config, seed, args)
        except Preempted as stopped:
            print(f'asked to stop: {stopped.path}; the same line goes on', flush=True)
            raise
        except RuntimeError as error:  # the others should not wait for this one to be mended
            failed.append(f'{name}, seed {seed}: {error}')
            print(f'error: {failed[-1]}', file=sys.stderr, flush=True)
            continue
        results.setdefault(name, []).append(result)
        worked += time.time() - before > 5  # what was finished already says nothing about time
        write_tables(results, args.out)
    if results:
        print((args.out / 'table.md').read_text())
    if failed:
        sys.exit(f'error: {len(failed)} of {len(todo)} runs failed; the same line starts them '
                 'again\n' + '\n'.join(line.split(';')[0] for line in failed))


if __name__ == '__main__':
    main()
