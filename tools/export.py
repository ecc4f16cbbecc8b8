"""Writes a pre-trained encoder for other ecosystems, with a model card beside it.

    python tools/export.py ENCODER --to transformers --out vit_base
    python tools/export.py ENCODER --to timm --out vit_base.safetensors
    python tools/export.py ENCODER --to onnx --out vit_base.onnx

Formats: transformers (a folder for AutoModel.from_pretrained), timm (its parameter names,
.safetensors or .pth), mmpretrain and safetensors (mmpretrain's names), torch (a torch.export
program, .pt2), onnx. The programs map normalised images to the last feature map. The config is
taken from the checkpoint.
"""
import argparse
import importlib
import sys
from pathlib import Path

import torch

from mmwamim.engine.export.programs import load_encoder, run_config, to_onnx, to_program
from mmwamim.errors import UserError, told_in_one_line
from mmwamim.evaluation.features import image_side
from mmwamim.weights.card import model_card, preprocessor_of
from mmwamim.weights.timm import timm_arguments, to_timm
from mmwamim.weights.transformers import write_folder

NEEDS = dict(transformers=['safetensors'], timm=[], mmpretrain=[], safetensors=['safetensors'],
             torch=[], onnx=['onnx', 'onnxscript'])
SUFFIXES = dict(transformers=('', ), timm=('.safetensors', '.pth'),
                mmpretrain=('.safetensors', '.pth'), safetensors=('.safetensors', ),
                torch=('.pt2', ), onnx=('.onnx', ))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write an encoder for other ecosystems')
    parser.add_argument('checkpoint', help='encoder.pth or epoch_N.pth')
    parser.add_argument('--to', '--format', dest='format', choices=NEEDS, required=True)
    parser.add_argument('--out', type=Path, required=True,
                        help='the file, or the folder for transformers')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    parser.add_argument('--license', help="for the model card (default: the config's 'license', "
                        "else 'unknown')")
    args = parser.parse_args()
    if args.format == 'transformers':
        if args.out.is_file():
            raise UserError(f'--out of format transformers is a folder; {str(args.out)!r} is a '
                            'file')
        if args.out.is_dir() and any(args.out.iterdir()) and not (
                args.out / 'config.json').is_file():  # a README.md there would be lost
            raise UserError(f'{str(args.out)!r} has other files in it: give --out a new folder')
    elif args.out.suffix not in SUFFIXES[args.format]:
        raise UserError(f'--out of format {args.format} must end with '
                        f'{" or ".join(SUFFIXES[args.format])}, not {str(args.out)!r}')
    needed = NEEDS[args.format] + ['safetensors'] * (args.out.suffix == '.safetensors')
    for package in needed:
        try:
            importlib.import_module(package)
        except ImportError:
            raise UserError(f'format {args.format} needs {package}: pip install '
                            f'{package}') from None
    return args


@told_in_one_line()
def main() -> None:
    args = parse_args()
    encoder = load_encoder(args.checkpoint, args.config)
    cfg, side = run_config(args.checkpoint, args.config), image_side(encoder)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    note = export(encoder, args.format, args.out, side, preprocessor_of(cfg))
    card = args.out / 'README.md' if args.out.is_dir() else args.out.with_suffix('.md')
    card.write_text(model_card(cfg, encoder, side, args.out.name,
                               ['python', *sys.argv], args.license))
    files = args.out.iterdir() if args.out.is_dir() else [args.out]
    size = sum(file.stat().st_size for file in files)
    print(f'wrote {args.out}, {size / 2**20:.1f} MiB, and {card}{note}')


def export(encoder: torch.nn.Module, form: str, out: Path, side: int, preprocessor: dict) -> str:
    """Writes the file or folder; returns how to load it, or ''."""
    if form == 'transformers':
        write_folder(encoder, side, preprocessor, out)
        return f'; load it with transformers.AutoModel.from_pretrained({str(out)!r})'
    if form == 'timm':
        name, state = to_timm(encoder)
        write(state, out, name)
        more = ''.join(f', {key}={value!r}' for key, value in timm_arguments(encoder)[1].items())
        return f"; load it with timm.create_model('{name}', num_classes=0{more}, " \
               f'checkpoint_path={str(out)!r})'
    if form in ('mmpretrain', 'safetensors'):
        write(encoder.state_dict(), out, type(encoder).__name__)
    elif form == 'torch':
        torch.export.save(to_program(encoder, side), out)
    else:
        to_onnx(encoder, side, out)
    return ''


def write(state: dict, path: Path, architecture: str) -> None:
    if path.suffix == '.pth':
        torch.save(state, path)
        return
    from safetensors.torch import save_file
    save_file({name: value.contiguous() for name, value in state.items()}, path,
              metadata=dict(architecture=architecture))


if __name__ == '__main__':
    main()
