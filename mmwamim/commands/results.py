"""What a run has written, drawn and said, and what to do with it."""
from pathlib import Path
from typing import List, Tuple

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmwamim.engine.config.loaders import say
from mmwamim.errors import UserError
from mmwamim.interface.command_line import command_line, short_path
from mmwamim.visualization import draw_losses, draw_reconstructions

from .calls import Run

SHOWN = 6  # images of which reconstructions are drawn


def result_of(runner: Runner, draw: bool) -> Run:
    """The paths that a run wrote, and pictures of it.

    Args:
        runner: At its end.
        draw: Whether to draw the losses, and reconstructions where the target has an inverse.
    """
    folder = short_path(runner.work_dir)
    encoder = folder / 'encoder.pth'
    scalars = {name: float(history.current()) for name, history
               in runner.message_hub.log_scalars.items() if len(history.data[0])}
    last = runner.message_hub.get_info('last_ckpt')
    return Run(folder=folder, checkpoint=short_path(last) if last else None,
               log=short_path(runner.log_dir) / f'{runner.timestamp}.log',
               config=folder / Path(runner.cfg.filename).name,
               encoder=encoder if encoder.is_file() else None,
               pictures=_draw(runner, folder) if draw else (),
               metrics={name.removeprefix('train/').removeprefix('val/'): value
                        for name, value in scalars.items()})


def _draw(runner: Runner, folder: Path) -> Tuple[Path, ...]:
    curve, picture = folder / 'loss_curve.png', folder / 'reconstruction.png'
    draw_losses([folder], curve)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not hasattr(getattr(model, 'target_generator', None), 'reconstruct'):
        return (curve, )
    dataset = runner.train_dataloader.dataset
    step = max(len(dataset) // SHOWN, 1)
    try:
        images = torch.stack([dataset[place]['inputs']
                              for place in range(0, min(step * SHOWN, len(dataset)), step)])
        draw_reconstructions(model, images, picture)
    except (UserError, RuntimeError) as error:  # the run itself is done, and is worth more
        say(f'{picture} could not be drawn: {error}')
        return (curve, )
    return curve, picture


def written_files(run: Run) -> List[str]:
    """Lines that name what a run wrote."""
    rows: List[Tuple[str, object]] = [
        ('encoder', run.encoder), ('checkpoint', run.checkpoint), ('config', run.config),
        ('log', run.log), *(('picture', path) for path in run.pictures)]
    return ['Written:', *(f'  {name:<12}{short_path(path)}' for name, path in rows if path)]


def what_next(run: Run) -> str:
    """The files of a pre-training run, the code that loads its encoder, and the next commands."""
    lines = written_files(run)
    if run.encoder:
        encoder = short_path(run.encoder)
        lines += ['In Python:', '  import mmwamim',
                  f'  encoder = mmwamim.load_encoder({str(encoder)!r})',
                  'As the backbone of any mmpretrain, mmdet or mmseg config:',
                  f"  init_cfg=dict(type='Pretrained', checkpoint={str(encoder)!r}, "
                  "prefix='backbone.')",
                  'Next:',
                  f'  {command_line("show", short_path(run.folder), "--images")} IMAGES',
                  f'  {command_line("embed", encoder)} IMAGES --out features.npz',
                  f'  {command_line("probe", encoder)} LABELLED_FOLDER',
                  f'  {command_line("finetune", encoder)} LABELLED_FOLDER',
                  f'  {command_line("export", encoder, "--to", "timm", "--out")} '
                  'encoder.safetensors']
    return '\n'.join(lines)
