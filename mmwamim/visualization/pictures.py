"""Pictures of a pre-training run: loss curves and reconstructions."""
import json
from pathlib import Path
from typing import Dict, List, Sequence, Union

import matplotlib
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

Path_ = Union[str, Path]


def read_scalars(run: Path_) -> List[Dict[str, float]]:
    """The training log of a run, one dict a logged step, all starts of the run in their order.

    Args:
        run: Work directory of a run.

    Raises:
        FileNotFoundError: There is no log below ``run``.
    """
    logs = sorted(Path(run).glob('*/vis_data/scalars.json'))
    if not logs:
        raise FileNotFoundError(f'no log found in {str(run)!r}: expected a work directory with '
                                '<time>/vis_data/scalars.json in it')
    steps = {}
    for log in logs:
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            if 'loss' in entry:
                steps[entry['step']] = entry  # a resumed run wins over what it repeats
    return [steps[step] for step in sorted(steps)]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def draw_losses(runs: Sequence[Path_], out: Path_) -> None:
    """Draws total loss, loss per level and learning rate of one or more runs over each other.

    Args:
        runs: Work directories.
        out: Picture file.

    Raises:
        FileNotFoundError: A run has no log.
        ValueError: A run has not logged a loss yet.
    """
    figure = _figure(13, 4)
    total, levels, rate = figure.subplots(1, 3)
    colours = matplotlib.colormaps['tab10'].colors
    styles = ['-', '--', ':', '-.']
    for number, run in enumerate(runs):
        entries = read_scalars(run)
        if not entries:
            raise ValueError(f'{str(run)!r} has logged no loss yet')
        steps = [entry['step'] for entry in entries]
        name = Path(run).name
        total.plot(steps, [entry['loss'] for entry in entries], color=colours[number % 10],
                   label=name)
        rate.plot(steps, [entry.get('lr', float('nan')) for entry in entries],
                  color=colours[number % 10], label=name)
        parts = [key for key in entries[-1] if key.startswith('loss_')]
        for position, key in enumerate(parts):
            levels.plot(steps, [entry.get(key, float('nan')) for entry in entries],
                        styles[number % 4], color=colours[position % 10],
                        label=key[len('loss_'):] if number == 0 else None)
    titles = ('loss', 'loss of each level, weighted', 'learning rate')
    for axes, title in zip((total, levels, rate), titles):
        axes.set_title(title)
        axes.set_xlabel('step')
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


@torch.no_grad()
def draw_reconstructions(model, images: Tensor, out: Path_, seed: int = 0) -> None:
    """Draws input, masked input, prediction and target side by side, a row an image.

    The prediction is put together by the target's inverse transform. What it borrows from the
    true image stands in the picture: the visible patches, and whatever normalisation took away.

    Args:
        model: A WaMIM whose target has ``reconstruct``, with a data preprocessor.
        images: uint8 or float images (B, C, H, W) as the data set gives them, 0 to 255, BGR if
            the preprocessor turns them to RGB.
        out: Picture file.
        seed: Of the masks.

    Raises:
        ValueError: The target has no inverse transform.
    """
    generator = model.target_generator
    if not hasattr(generator, 'reconstruct'):
        raise ValueError(f'{type(generator).__name__} has no inverse transform to draw')
    model.eval()
    batch = model.data_preprocessor(dict(inputs=images, data_samples=None))['inputs']
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mask = model.draw_mask(batch)
    predictions, targets, _ = model.predict_targets(batch, mask)
    hidden = mask.to(batch.device).expand(len(batch), -1, -1).unsqueeze(1).float()
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
    for column, (title, pictures) in enumerate(columns):
        for row, picture in enumerate(_to_display(pictures, model)):
            axes = grid[row][column]
            axes.imshow(picture, interpolation='nearest', vmin=0, vmax=1, cmap='gray')
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=8)
    figure.supxlabel('\n'.join(_borrowed(generator)), fontsize=7)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def _borrowed(generator) -> List[str]:
    """What a reconstruction takes from the true image, in words."""
    notes = []
    norm = getattr(generator, 'norm', 'none')
    if norm != 'none':
        over = 'position' if norm == 'token' else 'subband'
        notes.append('borrowed from the true image in both prediction columns: mean and standard '
                     f'deviation of the coefficients of each {over}')
    if getattr(generator, 'approximation', None) == 'none':
        notes.append('and the coarsest approximation')
    finest = getattr(generator, 'levels', (1, ))[0]
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
