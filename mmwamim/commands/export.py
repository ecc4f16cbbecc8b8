"""Writes a pre-trained encoder for other ecosystems, with a model card beside it.

    mmwamim export ENCODER --to transformers --out vit_base
    mmwamim export ENCODER --to timm --out vit_base.safetensors
    mmwamim export ENCODER --to onnx --out vit_base.onnx

Formats: transformers (a folder for AutoModel.from_pretrained), timm (its parameter names,
.safetensors or .pth), mmpretrain and safetensors (mmpretrain's names), torch (a torch.export
program, .pt2), onnx. The programs map normalised images to the last feature map. The config is
taken from the checkpoint.
"""
import argparse
import importlib
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import torch
from torch import nn

from mmwamim.engine.checkpoints.writing import write_atomically
from mmwamim.engine.export.programs import (
    load_classifier,
    load_encoder,
    run_config,
    to_onnx,
    to_program,
)
from mmwamim.errors import UserError
from mmwamim.evaluation.features import image_size
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.outputs import check_output_file, check_output_folder
from mmwamim.interface.words import option
from mmwamim.weights.card import MARK, model_card, preprocessor_of
from mmwamim.weights.timm import Classifier, timm_arguments, timm_pictures, to_timm
from mmwamim.weights.transformers import write_folder

from .calls import as_a_call

Path_ = Union[str, Path]
NEEDS = dict(transformers=['safetensors'], timm=[], mmpretrain=[], safetensors=['safetensors'],
             torch=[], onnx=['onnx', 'onnxscript'])
WHOLE = ('timm', 'mmpretrain', 'safetensors')  # have every parameter
SUFFIXES = dict(transformers=('', ), timm=('.safetensors', '.pth'),
                mmpretrain=('.safetensors', '.pth'), safetensors=('.safetensors', ),
                torch=('.pt2', ), onnx=('.onnx', ))


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    """The file, or the folder for transformers."""
    card: Path
    """The model card."""
    how_to_load: str
    """A line of Python, or '' where any reader of the format will do."""


@settles_arguments
def export(encoder: Path_, to: str, out: Path_, *, config: Optional[Path_] = None,
           license: Optional[str] = None, command: Sequence[str] = ()) -> Exported:
    """Writes a pre-trained encoder for other ecosystems, with a model card beside it.

    Args:
        encoder: encoder.pth, or a full checkpoint of pre-training or fine-tuning. The norm after
            the pooling of a fine-tuned ViT has a place in timm and mmpretrain alone. timm gets the
            classifier, too.
        to: ``'transformers'``, ``'timm'``, ``'mmpretrain'``, ``'safetensors'``, ``'torch'`` or
            ``'onnx'``.
        out: The file, or the folder for transformers.
        config: Of the run, if the checkpoint does not hold it.
        license: For the model card. Default: the config's ``license``, else 'unknown'.
        command: What the card says wrote it. Default: this call.

    Returns:
        The paths of file and model card, and ``how_to_load``, a line of Python.

    Raises:
        UserError: The format does not fit the encoder or the path, or a library is missing.

    Examples:
        >>> mmwamim.export('encoder.pth', 'timm', 'vit.safetensors')  # doctest: +SKIP
    """
    out = Path(out)
    check_target(to, out)
    card = out / 'README.md' if to == 'transformers' else out.with_name(f'{out.name}.md')
    if to == 'transformers':
        check_output_folder(out)
    else:
        check_output_file(out, source=encoder if Path(encoder).exists() else None)
    if card.is_file() and MARK not in card.read_text(errors='replace'):
        raise UserError(f'{str(card)!r}, where the model card goes, is a text of yours: give '
                        f'{option("out")} another name')
    with as_a_call():
        network = load_encoder(encoder, config)
        if hasattr(network, 'ln2') and to not in WHOLE:
            raise UserError(f'{str(encoder)!r} was fine-tuned with a norm after the pooling, for '
                            f'which format {to} has no place: export the encoder that it began '
                            f'with, or to {", ".join(WHOLE[:-1])} or {WHOLE[-1]}')
        cfg, size = run_config(encoder, config), image_size(network)
        classifier = load_classifier(encoder, cfg) if to == 'timm' else None
        how = write(network, to, out, size, preprocessor_of(cfg), classifier)
        call = ['mmwamim', 'export', encoder, '--to', to, '--out', out]
        text = model_card(cfg, network, size, out.name, command or call, license)
        write_atomically(text.encode(errors='surrogateescape'), card)  # names of files
    return Exported(out, card, how)


def check_target(form: str, out: Path) -> None:
    """Whether a format can be written to a path here.

    Raises:
        UserError: It cannot.
    """
    if form not in NEEDS:
        raise UserError(f'there is no format {form!r}; there are {", ".join(NEEDS)}')
    if form == 'transformers':
        if out.is_file():
            raise UserError(f'{option("out")} of format transformers is a folder; {str(out)!r} is '
                            'a file')
        if out.is_dir() and any(out.iterdir()) and not (
                out / 'config.json').is_file():  # a README.md there would be lost
            raise UserError(f'{str(out)!r} has other files in it: give '
                            f'{option("out")} a new folder')
    elif out.suffix not in SUFFIXES[form]:
        raise UserError(f'{option("out")} of format {form} must end with '
                        f'{" or ".join(SUFFIXES[form])}, not {str(out)!r}')
    for package in NEEDS[form] + ['safetensors'] * (out.suffix == '.safetensors'):
        try:
            importlib.import_module(package)
        except ImportError:
            raise UserError(f'format {form} needs {package}: pip install {package}') from None


def write(encoder: nn.Module, form: str, out: Path, size: Tuple[int, int],
          preprocessor: dict, classifier: Optional[Classifier] = None) -> str:
    """Writes the file or folder; returns how to load it, or ''."""
    if form == 'transformers':
        write_folder(encoder, size, preprocessor, out)
        # Nothing here trains the pooler of ViTModel: transformers would draw one, and say so.
        more = ', add_pooling_layer=False' if hasattr(encoder, 'layers') else ''
        return f'transformers.AutoModel.from_pretrained({str(out.absolute())!r}{more})'
    if form == 'timm':
        name, state = to_timm(encoder, classifier)
        _save(state, out, name)
        classes = 0 if classifier is None else len(classifier.bias)
        given = dict(timm_arguments(encoder)[1],
                     pretrained_cfg_overlay=timm_pictures(encoder, preprocessor))
        more = ''.join(f', {key}={value!r}' for key, value in given.items())
        return (f"timm.create_model('{name}', num_classes={classes}{more}, "
                f'checkpoint_path={str(out.absolute())!r})')
    if form in ('mmpretrain', 'safetensors'):
        _save(encoder.state_dict(), out, type(encoder).__name__)
    elif form == 'torch':
        data = BytesIO()
        torch.export.save(to_program(encoder, size), data)
        write_atomically(data.getbuffer(), out)
    else:
        to_onnx(encoder, size, out)
    return ''


def _save(state: dict, path: Path, architecture: str) -> None:
    if path.suffix == '.pth':
        data = BytesIO()
        torch.save(state, data)
        write_atomically(data.getbuffer(), path)
        return
    from safetensors.torch import save
    write_atomically(save({name: value.contiguous() for name, value in state.items()},
                          metadata=dict(architecture=architecture)), path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('encoder', metavar='ENCODER', help='encoder.pth or epoch_N.pth')
    parser.add_argument('--to', '--format', choices=NEEDS, required=True)
    parser.add_argument('--out', required=True, help='the file, or the folder for transformers')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    parser.add_argument('--license', help="for the model card (default: the config's 'license', "
                        "else 'unknown')")


def run(args: argparse.Namespace) -> None:
    script = sys.argv[0].endswith('.py') and not sys.argv[0].endswith('__main__.py')
    start = ['python', sys.argv[0]] if script else ['mmwamim']
    done = export(**vars(args), command=[*start, *sys.argv[1:]])
    files = done.path.iterdir() if done.path.is_dir() else [done.path]
    size = sum(file.stat().st_size for file in files)
    path, card = short_path(done.path), short_path(done.card)
    how = done.how_to_load.replace(repr(str(done.path)), repr(str(path)))
    how = f'; load it with {how}' if how else ''
    print(f'wrote {path}, {size / 2**20:.1f} MiB, and {card}{how}')
