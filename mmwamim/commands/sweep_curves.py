"""Accuracy over the epochs and over the time of a sweep's runs: which method learns faster."""
import json
from pathlib import Path
from typing import Callable, Dict, List

from mmwamim.interface.words import option
from mmwamim.visualization import read_scalars, save
from mmwamim.visualization.figures import new_figure

from .sweep_table import Results


def keeping(every: int) -> List[str]:
    """Fields of a config, ``KEY=VALUE``, that keep a checkpoint of each ``every`` epochs."""
    return [f'default_hooks.checkpoint.interval={every}',
            'default_hooks.checkpoint.max_keep_ckpts=-1']


def seconds_by_epoch(run: Path) -> Dict[int, float]:
    """Time that the steps of a run took up to the end of each epoch, without start-up and without
    what a resumed run repeats."""
    before, total, found = 0, 0., {}
    for entry in read_scalars(run):
        total += entry['time'] * (entry['step'] - before)
        before = entry['step']
        found[entry.get('epoch', entry['step'])] = total  # runs of iterations have no epochs
    return found


def probe_checkpoints(work: Path, every: int, probe: Callable[[Path, Path], dict]) -> List[dict]:
    """Judges the checkpoints of each ``every`` epochs of a run, those that were not judged before.

    Args:
        work: Folder of the run: pretrain/epoch_N.pth is read, curve/epoch_N.json is kept.
        every: Epochs from one point to the next.
        probe: Called with a checkpoint and the file for its figures, ``linear_top1`` and
            ``knn_top1_k20`` in it, which it returns.

    Returns:
        A dict a point, first epoch first: ``epoch``, ``seconds`` of pre-training, ``linear`` and
        ``knn`` in percent.

    Raises:
        RuntimeError: No such checkpoint was kept.
    """
    points, seconds = [], seconds_by_epoch(work / 'pretrain')
    for epoch in sorted(seconds):
        checkpoint = work / f'pretrain/epoch_{epoch}.pth'
        if epoch % every or not checkpoint.is_file():
            continue
        kept = work / f'curve/epoch_{epoch}.json'
        kept.parent.mkdir(exist_ok=True)
        figures = json.loads(kept.read_text()) if kept.is_file() else probe(checkpoint, kept)
        points.append(dict(epoch=epoch, seconds=round(seconds[epoch], 1),
                           linear=figures['linear_top1'], knn=figures['knn_top1_k20']))
    if not points:
        raise RuntimeError(f'{work / "pretrain"} holds no checkpoint of each {every} epochs: they '
                           f'are kept by runs that are started with {option("curve")}')
    return points


def draw_curves(results: Results, out: Path) -> None:
    """A line for each run, a colour for each config: over epochs, and over time, where what is
    further up and left is better."""
    figure = new_figure(10, 4)
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for number, (name, runs) in enumerate(results.items()):
        for first, run in enumerate(runs):
            points = run.get('curve', [])
            look = dict(marker='o', markersize=4, color=f'C{number}',
                        label=None if first else name)
            linear = [point['linear'] for point in points]
            by_epoch.plot([point['epoch'] for point in points], linear, **look)
            by_time.plot([point['seconds'] / 60 for point in points], linear, **look)
    by_epoch.set(xlabel='epochs', ylabel='linear probe, top-1 in %', title='at equal epochs')
    by_time.set(xlabel='minutes of pre-training', title='at equal time: up and left is better')
    for panel in (by_epoch, by_time):
        panel.grid(alpha=0.3)
        panel.set_xlim(left=0)
    by_epoch.legend(fontsize=8)
    save(figure, out)
