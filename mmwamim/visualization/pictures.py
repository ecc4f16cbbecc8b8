"""Pictures of images: reconstructions, pyramids of subbands."""
from typing import List

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmwamim.models.heads import explained_share
from mmwamim.models.masking import rescale_mask
from mmwamim.wavelets import wavedec2

from .figures import Path_, new_figure, save


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
        ('prediction of what is hidden', predicted * hidden + batch * (1 - hidden)),
        ('target', target),
    ]
    figure = new_figure(1.9 * len(columns), 1.95 * len(batch) + 0.9)
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
    figure = new_figure(2 * len(targets) + 1, 16.5)
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
    figure = new_figure(8.4, 2.1 * level + 0.4)
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
