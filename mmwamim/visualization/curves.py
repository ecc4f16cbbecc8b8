"""The log of a run: its scalars, its accuracies, and their curves."""
import json
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

import matplotlib

from mmwamim.errors import MissingFile, UserError
from mmwamim.interface.words import option

from .figures import Path_, new_figure, save


def read_scalars(run: Path_) -> List[Dict[str, float]]:
    """The training log of a run, one dict a logged step, all starts of the run in their order.

    Args:
        run: Work directory of a run.

    Returns:
        ``step``, ``loss`` and what else was logged, a dict each, by rising step.

    Raises:
        MissingFile: There is no log below ``run``, or one of other backends alone.

    Examples:
        >>> read_scalars('work_dirs/photos_vit_tiny')[-1]['loss']  # doctest: +SKIP
        2.335
    """
    logs = sorted(Path(run).glob('*/vis_data/scalars.json'))
    if not logs:
        there = sorted({path.name for path in Path(run).glob('*/vis_data/*')} - {'config.py'})
        if there:  # files of libraries, which only these read: W&B's, TensorBoard's, MLflow's
            raise MissingFile(
                f'{str(run)!r} has no <time>/vis_data/scalars.json, which losses are read from, '
                f'only {", ".join(there[:3])}{", ..." if len(there) > 3 else ""}: its visualizer '
                "had no LocalVisBackend; train with dict(type='LocalVisBackend') among "
                f'visualizer.vis_backends, or add others by {option("log")}, which keeps it')
        raise MissingFile(f'no log found in {str(run)!r}: expected a work directory with '
                          '<time>/vis_data/scalars.json in it')
    steps = {entry['step']: entry for entry in _entries(logs) if 'loss' in entry}
    return [steps[step] for step in sorted(steps)]  # a resumed run wins over what it repeats


def read_accuracies(run: Path_) -> Dict[str, Dict[int, float]]:
    """Accuracies of a run in percent, by their name and epoch: of validation and of probes.

    Args:
        run: Work directory of a run.

    Returns:
        By name, such as ``'accuracy/top1'``, the value at each epoch; empty where there is none.

    Examples:
        >>> read_accuracies('work_dirs/labelled_finetune')  # doctest: +SKIP
        {'accuracy/top1': {1: 12.0, 2: 15.0, 3: 20.0}}
    """
    found: Dict[str, Dict[int, float]] = {}
    for entry in _entries(sorted(Path(run).glob('*/vis_data/scalars.json'))):
        for name, value in entry.items():
            if name.startswith('accuracy/') or name == 'probe/knn_top1':
                found.setdefault(name, {})[entry['step']] = value
    return found


def _entries(logs: Sequence[Path]) -> Iterator[dict]:
    for log in logs:
        for line in log.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a run that was killed


def draw_losses(runs: Sequence[Path_], out: Path_) -> None:
    """Draws the curves of one or more runs over each other: total loss, loss and explained share
    of each level, learning rate, steps a second, accuracies. What no run logged has no panel.

    Args:
        runs: Work directories.
        out: Picture file.

    Raises:
        MissingFile: A run has no log.
        UserError: A run has not logged a loss yet.

    Examples:
        >>> draw_losses(['work_dirs/photos_vit_tiny'], 'losses.png')  # doctest: +SKIP
    """
    panels: Dict[str, List[dict]] = {title: [] for title in (
        'loss', 'loss of each level, weighted', 'explained share of each level, %',
        'learning rate', 'steps a second', 'accuracy, %')}
    colours = matplotlib.colormaps['tab10'].colors
    styles = ['-', '--', ':', '-.']
    for number, run in enumerate(runs):
        entries = read_scalars(run)
        if not entries:
            raise UserError(f'{str(run)!r} has logged no loss yet')
        steps = [entry['step'] for entry in entries]
        of_run = dict(x=steps, color=colours[number % 10], label=Path(run).name)

        def values(key: str, scale: float = 1., entries=entries) -> List[float]:
            return [scale * entry.get(key, float('nan')) for entry in entries]

        panels['loss'].append(dict(of_run, y=values('loss')))
        if 'lr' in entries[-1]:
            panels['learning rate'].append(dict(of_run, y=values('lr')))
        panels['steps a second'].append(dict(of_run, y=[
            1 / entry['time'] if entry.get('time') else float('nan') for entry in entries]))
        for prefix, title, scale in (('loss_', 'loss of each level, weighted', 1.),
                                     ('explained_', 'explained share of each level, %', 100.)):
            keys = [key for key in entries[-1] if key.startswith(prefix)]
            panels[title] += [dict(x=steps, y=values(key, scale), color=colours[place % 10],
                                   linestyle=styles[number % 4],
                                   label=key[len(prefix):] if number == 0 else None)
                              for place, key in enumerate(keys)]
        for place, (measure, found) in enumerate(read_accuracies(run).items()):
            panels['accuracy, %'].append(dict(
                x=list(found), y=list(found.values()), linestyle=styles[place % 4], marker='.',
                color=colours[number % 10], label=f'{Path(run).name} {measure}'))
    panels = {title: curves for title, curves in panels.items() if curves}
    figure = new_figure(4 * len(panels), 4)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, curves) in zip(grid, panels.items()):
        for curve in curves:
            axes.plot(curve.pop('x'), curve.pop('y'), **curve)
        axes.set_title(title)
        axes.set_xlabel('epoch' if title.startswith('accuracy') else 'step')
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        if title.startswith('explained'):
            axes.set_ylim(bottom=max(axes.get_ylim()[0], -20))  # below 0 at the very start
    save(figure, out)
