"""Pictures of a pre-training run: loss curves and reconstructions."""
import json
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Union

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mmwamim.errors import MissingFile, UserError
from mmwamim.models.heads import explained_share
from mmwamim.models.masking import rescale_mask
from mmwamim.wavelets import wavedec2

Path_ = Union[str, Path]


def read_scalars(run: Path_) -> List[Dict[str, float]]:
    """The training log of a run, one dict a logged step, all starts of the run in their order.

    Args:
        run: Work directory of a run.

    Raises:
        MissingFile: There is no log below ``run``.
    """
    logs = sorted(Path(run).glob('*/vis_data/scalars.json'))
    if not logs:
        raise MissingFile(f'no log found in {str(run)!r}: expected a work directory with '
                          '<time>/vis_data/scalars.json in it')
    steps = {entry['step']: entry for entry in _entries(logs) if 'loss' in entry}
    return [steps[step] for step in sorted(steps)]  # a resumed run wins over what it repeats


def read_accuracies(run: Path_) -> Dict[str, Dict[int, float]]:
    """Accuracies of a run in percent, by their name and epoch: of validation and of probes."""
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


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def draw_losses(runs: Sequence[Path_], out: Path_) -> None:
    """Draws the curves of one or more runs over each other: total loss, loss and explained share
    of each level, learning rate, steps a second, accuracies. What no run logged has no panel.

    Args:
        runs: Work directories.
        out: Picture file.

    Raises:
        MissingFile: A run has no log.
        UserError: A run has not logged a loss yet.
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
    figure = _figure(4 * len(panels), 4)
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


def save(figure: Figure, out: Path_) -> None:
    """Writes a figure to a picture file."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def to_array(figure: Figure) -> np.ndarray:
    """A figure as uint8 (H, W, 3), RGB."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def draw_reconstructions(model, images: Tensor, out: Path_, seed: int = 0) -> None:
    """Writes :func:`reconstruction_figure` to the picture file ``out``."""
    save(reconstruction_figure(model, images, seed), out)


@torch.no_grad()
def reconstruction_figure(model, images: Tensor, seed: int = 0) -> Figure:
    """Draws input, masked input, prediction and target side by side, a row an image.

    The prediction is put together by the target's inverse transform. What it borrows from the
    true image stands in the picture: the visible patches, and whatever normalisation took away.

    Args:
        model: A WaMIM whose target has ``reconstruct``, with a data preprocessor.
        images: uint8 or float images (B, C, H, W) as the data set gives them, 0 to 255, BGR if
            the preprocessor turns them to RGB.
        seed: Of the masks.

    Raises:
        ValueError: The target has no inverse transform.
    """
    generator = model.target_generator
    if not hasattr(generator, 'reconstruct'):
        raise ValueError(f'{type(generator).__name__} has no inverse transform to draw')
    batch, mask, predictions, targets = _predict(model, images, seed)
    hidden = mask.expand(len(batch), -1, -1).unsqueeze(1).float()
    hidden = hidden.repeat_interleave(batch.shape[2] // mask.shape[1], 2)
    hidden = hidden.repeat_interleave(batch.shape[3] // mask.shape[2], 3)
    predicted = generator.reconstruct(predictions, batch)
    target = generator.reconstruct(targets, batch)
    columns = [
        ('input', batch), ('masked input', batch * (1 - hidden)),
        ('prediction everywhere', predicted),
        ('prediction, visible\npatches from the input', predicted * hidden + batch * (1 - hidden)),
        ('target', target),
    ]
    figure = _figure(1.9 * len(columns), 1.95 * len(batch) + 0.9)
    grid = figure.subplots(len(batch), len(columns), squeeze=False)
    grey = bool((images == images[:, :1]).all())
    for column, (title, pictures) in enumerate(columns):
        for row, picture in enumerate(_to_display(pictures, model)):
            picture = picture.mean(-1) if grey and picture.ndim == 3 else picture
            axes = grid[row][column]
            axes.imshow(picture, interpolation='nearest', vmin=0, vmax=1, cmap='gray')
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=8)
    shares = '  '.join(f'{name} {share:.0%}' for name, share in zip(
        generator.level_names, _explained(predictions, targets, mask)))
    figure.supxlabel('\n'.join([f'explained share of the masked target in these images: {shares}',
                                *_borrowed(generator),
                                *['grey pictures: predicted colours are averaged'] * grey]),
                     fontsize=7)
    return figure


def _explained(predictions, targets, mask: Tensor) -> List[float]:
    """The explained share of each level, over the masked positions of all images."""
    shares = []
    for prediction, target in zip(predictions, targets):
        weights = rescale_mask(mask.cpu(), target.shape[-2:]).expand(len(target), -1, -1)
        weights = (weights / weights.sum()).to(target.device)
        shares.append(float(explained_share(prediction, target, weights)))
    return shares


@torch.no_grad()
def pyramid_figure(model, images: Tensor, seed: int = 0) -> Figure:
    """Draws predicted beside true subbands of the first image, as the loss compares them.

    A column a level, two rows a subband of the level itself, not of finer ones; grey is zero,
    colours are averaged. Nothing is borrowed from the true image. Arguments as in
    :func:`reconstruction_figure`.
    """
    _, _, predictions, targets = _predict(model, images, seed)
    generator = model.target_generator
    bands = ('approximation', 'horizontal', 'vertical', 'diagonal')
    figure = _figure(2 * len(targets) + 1, 16.5)
    grid = figure.subplots(2 * len(bands), len(targets), squeeze=False)
    for column, (name, *pair) in enumerate(zip(generator.level_names, targets, predictions)):
        stacks = [level[0].float().cpu().unflatten(0, (-1, generator.in_channels)).mean(1)
                  for level in pair]  # (bands, rows, cols)
        given = bands if generator.with_approximation[column] else bands[1:]
        for row, band in enumerate(bands):
            for kind, stack in enumerate(stacks):
                axes = grid[2 * row + kind][column]
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(f'{band}\n{("true", "predicted")[kind]}', fontsize=8)
                if row == 0 and kind == 0:
                    axes.set_title(f'{name}, {stack.shape[-2]}x{stack.shape[-1]}', fontsize=8)
                if band not in given:
                    axes.text(0.5, 0.5, 'no target', ha='center', va='center', fontsize=7,
                              transform=axes.transAxes)
                    continue
                place = given.index(band)
                limit = float(stacks[0][place].abs().max()) or 1.
                axes.imshow(stack[place], cmap='gray', vmin=-limit, vmax=limit,
                            interpolation='nearest')
    return figure


def _predict(model, images: Tensor, seed: int) -> tuple:
    """Normalised images, their mask for a seed, predictions and targets; training goes on after
    it as if nothing had been drawn."""
    was_training = model.training
    model.eval()
    batch = model.data_preprocessor(dict(inputs=images, data_samples=None))['inputs']
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plan = model.plan_mask(batch)
    predictions, targets, mask = model.predict_targets(batch, plan)
    model.train(was_training)
    return batch, mask, predictions, targets


def wavelet_figure(image: Tensor, wavelet: str, level: int, mode: str = 'periodization') -> Figure:
    """Draws the wavelet pyramid of one image: a row a level, a column a subband.

    Args:
        image: (C, H, W), any range; colours are averaged after the transform.
        wavelet: Name of a discrete wavelet of PyWavelets.
        level: Number of levels.
        mode: PyWavelets' name of the extension.
    """
    coefficients = wavedec2(image[None].float(), wavelet, level, mode)
    figure = _figure(8.4, 2.1 * level + 0.4)
    grid = figure.subplots(level, 4, squeeze=False)
    for row, subbands in enumerate(coefficients):
        for column, (name, band) in enumerate(zip(subbands._fields, subbands)):
            picture, axes = band[0].mean(0), grid[row][column]
            limit = float(picture.abs().max()) or 1.
            low = 0 if column == 0 and picture.min() >= 0 else -limit
            axes.imshow(picture, cmap='gray', vmin=low, vmax=limit, interpolation='nearest')
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(name, fontsize=9)
            if column == 0:
                axes.set_ylabel(f'level {row + 1}\n{picture.shape[0]}x{picture.shape[1]}',
                                fontsize=8)
    figure.supxlabel(f'{wavelet}, {mode}; details: grey is zero, each scaled to its largest '
                     'value', fontsize=7)
    return figure


def _borrowed(generator) -> List[str]:
    """What a reconstruction takes from the true image, in words."""
    notes = []
    kinds = getattr(generator, 'norm', 'none'), getattr(generator, 'approximation_norm', 'same')
    what = {'token': 'mean and standard deviation of the coefficients of each position',
            'subband': 'mean and standard deviation of the coefficients of each subband',
            'unit': 'the energy of the details around', 'neighbourhood':
            'the energy of the details around'}.get(kinds[0])
    apart = {'hue': 'the brightness of each cell', 'image': "the approximation's mean and standard "
             'deviation over the image'}.get(kinds[1])
    if getattr(generator, 'approximation', 'all') == 'none':
        apart = 'the coarsest approximation'
    if what or apart:
        notes.append('borrowed from the true image in both prediction columns: '
                     + ' and '.join(filter(None, (what, apart))))
    finest = getattr(generator, 'finest_scale', 1)
    if finest > 1:
        missing = 'level 1' if finest == 2 else f'levels 1 to {finest - 1}'
        notes.append(f'not predicted, and zero in prediction and target: details of {missing}')
    return notes or ['nothing is borrowed from the true image but the visible patches']


def _to_display(images: Tensor, model) -> List:
    """Normalised (B, C, H, W) to arrays (H, W, 3) or (H, W) in [0, 1]."""
    preprocessor = model.data_preprocessor
    if getattr(preprocessor, '_enable_normalize', False):
        images = images * preprocessor.std + preprocessor.mean
    images = (images / 255).clamp(0, 1).permute(0, 2, 3, 1).float().cpu()
    if images.shape[-1] != 3:
        images = images.mean(-1)
    return list(images.numpy())
