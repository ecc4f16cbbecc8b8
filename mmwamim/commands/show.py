"""Draws the losses and reconstructions of a run, or the wavelet pyramid of an image.

    mmwamim show work_dirs/photos_vit_s
    mmwamim show work_dirs/photos_vit_s --images PHOTOS --most 4
    mmwamim show RUN RUN
    mmwamim show cat.jpg

Of a run its work directory is given, or a full checkpoint, whose reconstructions are drawn. The
losses of several runs go into one picture.
"""
import argparse
from pathlib import Path
from typing import List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope

from mmwamim.datasets.listing import NoImages, printable, readable_endings
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.sources import Source, open_all, open_source
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.checkpoints.finding import latest_checkpoint
from mmwamim.engine.export.programs import run_config
from mmwamim.errors import MissingFile, UserError
from mmwamim.evaluation.features import evaluation_pipeline, image_size
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.outputs import check_output_file, check_output_folder
from mmwamim.interface.words import option
from mmwamim.visualization import draw_losses, draw_reconstructions, save, wavelet_figure

from .calls import as_a_call
from .fields import add_columns, check_counts

Path_ = Union[str, Path]


@settles_arguments
def show(what: Union[Path_, Sequence[Path_]], *, images: Optional[Path_] = None,
         column: Optional[str] = None, most: int = 6, seed: int = 0,
         wavelet: str = 'haar', level: int = 5, out: Optional[Path_] = None) -> List[Path]:
    """Draws runs, a checkpoint or an image.

    Args:
        what: Work directories of runs, a full checkpoint of pre-training, or an image.
        images: What to reconstruct: an image, a folder, or whatever else ``--data`` of training
            takes. Default: those of the run.
        column: The column of paths or images, where ``images`` have columns.
        most: Images at most, spread over all.
        seed: Of the masks.
        wavelet: For an image: a discrete wavelet of PyWavelets.
        level: For an image: number of levels.
        out: The picture, or for runs the folder for pictures. Default: into the first run, or
            beside what is drawn.

    Returns:
        The pictures that were written.

    Raises:
        UserError: There is nothing to draw there.

    Examples:
        >>> mmwamim.commands.show.show('work_dirs/photos_vit_tiny')[0]  # doctest: +SKIP
        PosixPath('/home/me/work_dirs/photos_vit_tiny/loss_curve.png')
    """
    check_counts(most=most, level=level)
    things = [Path(one) for one in ([what] if isinstance(what, (str, Path)) else what)]
    if not things:
        raise UserError('what: name a run, a checkpoint or an image to show')
    missing = [thing for thing in things if not thing.exists()]
    if missing:
        raise MissingFile(f'there is no run, checkpoint or image {str(missing[0])!r}')
    first = things[0]
    if images is not None and (len(things) > 1 or not first.is_dir() and first.suffix != '.pth'):
        raise UserError(f'{option("images")}: they are reconstructed by one run or '
                        f'checkpoint, not by {", ".join(map(str, things[:3]))}')
    if out is not None and first.is_dir():
        check_output_folder(out)
    elif out is not None:
        check_output_file(out, source=first)
    for thing in things:
        _check_no_images(thing)
    with as_a_call():
        if first.is_dir():
            return _show_runs(things, images, column, most, seed, Path(out or first))
        if len(things) > 1:
            raise UserError('several things to show must be work directories of runs')
        if first.suffix == '.pth':
            target = Path(out or first.with_name('reconstruction.png'))
            return [reconstruct(first, run_config(first), images, most, seed, target, column)]
        target = Path(out or f'{first.stem}_wavelets.png')
        draw_wavelets(first, target, wavelet, level)
        return [target]


def _check_no_images(thing: Path) -> None:
    """Raises UserError of a folder that holds images and no log of a run."""
    if not thing.is_dir() or any(thing.glob('*/vis_data')):
        return
    if any(path.suffix.lower() in readable_endings() for path in thing.rglob('*')):
        raise UserError(f'{str(thing)!r} holds images and is no work directory of a run: what a '
                        f'run makes of them is drawn of the run, with '
                        f'{option("images", str(thing))}; wavelets are drawn of one image')


def _show_runs(runs: List[Path], images: Optional[Path_], column: Optional[str], most: int,
               seed: int, folder: Path) -> List[Path]:
    pictures = [folder / 'loss_curve.png']
    draw_losses(runs, pictures[0])
    checkpoint = latest_checkpoint(runs[0]) if len(runs) == 1 else None
    if checkpoint is None:
        return pictures
    cfg = run_config(checkpoint)
    if 'target_generator' not in cfg.model:  # no pre-training with a target to draw
        return pictures
    try:
        return [*pictures, reconstruct(checkpoint, cfg, images, most, seed,
                                       folder / 'reconstruction.png', column)]
    except UserError as error:  # the losses are drawn
        print(error)
        return pictures


def reconstruct(checkpoint: Path_, cfg: Config, images: Optional[Path_], most: int, seed: int,
                out: Path, column: Optional[str] = None) -> Path:
    """Draws what a full checkpoint predicts; arguments as of :func:`show`."""
    model = load_model(cfg, checkpoint)
    source = _images_of(cfg, images, column)
    if not hasattr(getattr(model, 'target_generator', None), 'reconstruct'):
        raise UserError(f'the target of {checkpoint} has no inverse transform to draw')
    size, value_range = image_size(model.backbone), cfg.get('value_range')
    draw_reconstructions(model, read_images(source, size, most, value_range, cfg.get('channels')),
                         out, seed)
    return out


def _images_of(cfg: Config, images: Optional[Path_], column: Optional[str]) -> Source:
    """Those that are given, or those of the run."""
    endings = (*readable_endings(), '.npy') if cfg.get('channels') else None
    if images is not None:
        return open_all(str(images), endings, column)
    dataset = cfg.train_dataloader.dataset
    try:
        return open_source(dataset.data_root, endings=endings, column=dataset.get('column'))
    except NoImages:
        raise UserError(f'the images of the run, {dataset.data_root!r}, are not here: give others '
                        f'with {option("images")}') from None


def load_model(cfg: Config, checkpoint: Path_) -> torch.nn.Module:
    """The pre-training model with every weight of the checkpoint, decoders included.

    Raises:
        UserError: The file is missing, or weights are missing or left over.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor')
        model = MODELS.build({**cfg.model, 'data_preprocessor': preprocessor})
    state = read_checkpoint(checkpoint)['state_dict']
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise UserError(
            f'{checkpoint} does not fit {cfg.filename or "its config"}: {len(missing)} weights '
            f'missing ({", ".join(missing[:3])} ...), {len(unexpected)} left over '
            f'({", ".join(unexpected[:3])}). Take a full checkpoint epoch_N.pth, not the encoder '
            'alone')
    return model


def read_images(source: Source, size: Sequence[int], most: int,
                value_range: Optional[Sequence[float]] = None,
                channels: Optional[int] = None) -> torch.Tensor:
    """Centre crops (B, C, H, W) of images spread over a place, as the run reads them (colours in
    the order BGR); what cannot be read is named and left out.

    Raises:
        NoImages: None of them can be read.
    """
    load, resize, crop, _ = evaluation_pipeline(size, value_range, channels)
    crop = Compose([load, dict(resize, scale=size), crop])
    print(source.description)
    pictures = []
    for place in source.spread(most):
        try:
            record, data = dict(img_path=source.key(place)), source.read(place)
            record = crop(record if data is None else dict(record, img_bytes=data))
        except UnreadableImage as error:
            print(f'left out {printable(error)}')
            continue
        pictures.append(torch.from_numpy(record['img'].copy()).permute(2, 0, 1))
    if not pictures:
        raise NoImages('none of the images looked at can be read')
    return torch.stack(pictures)


def draw_wavelets(image: Path_, out: Path_, wavelet: str = 'haar', level: int = 5,
                  mode: str = 'periodization',
                  value_range: Optional[Sequence[float]] = None) -> None:
    """Draws the wavelet pyramid of an image file.

    Raises:
        UserError: Wavelet, level, mode or range do not fit.
    """
    try:
        pixels = read_rgb(str(image), value_range=value_range)
        deepest = max((max(pixels.shape[:2]) - 1).bit_length(), 5)
        if level > deepest:  # of which a cell would be larger than the image
            raise UserError(f'{option("level")} must be at most {deepest} for this image, not '
                            f'{level}')
        save(wavelet_figure(torch.from_numpy(pixels).permute(2, 0, 1), wavelet, level, mode), out)
    except ValueError as error:  # of the wavelet, its levels or the range
        raise UserError(error) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('what', nargs='+', metavar='RUN|CHECKPOINT|IMAGE')
    parser.add_argument('--images', help='what to reconstruct: an image, a folder, a table, '
                        'tar shards, a Hugging Face data set, LMDB (default: those of the run)')
    add_columns(parser, labels=False)
    parser.add_argument('--most', type=int, default=6, help='images at most (6)')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--wavelet', default='haar', help='for an image: a discrete wavelet')
    parser.add_argument('--level', type=int, default=5, help='for an image: number of levels')
    parser.add_argument('--out', help='picture to write, of a run the folder for pictures')


def run(args: argparse.Namespace) -> None:
    for path in show(**vars(args)):
        print(f'wrote {short_path(path)}')
