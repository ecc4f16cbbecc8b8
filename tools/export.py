"""Writes a pre-trained encoder for other ecosystems.

    python tools/export.py ENCODER --format timm --out vit_base.safetensors
    python tools/export.py ENCODER --format onnx --out vit_base.onnx

Formats: timm (its parameter names, .safetensors or .pth), safetensors (mmpretrain's names),
torch (a torch.export program, .pt2), onnx. The programs map normalised images to the last
feature map. The config is taken from the checkpoint.
"""
import argparse
import importlib
from pathlib import Path

import torch

from mmwamim.engine.export import load_encoder, to_onnx, to_program, to_timm
from mmwamim.errors import UserError, told_in_one_line
from mmwamim.evaluation.features import image_side

NEEDS = dict(timm=[], safetensors=['safetensors'], torch=[], onnx=['onnx', 'onnxscript'])
SUFFIXES = dict(timm=('.safetensors', '.pth'), safetensors=('.safetensors', ), torch=('.pt2', ),
                onnx=('.onnx', ))


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Write an encoder for other ecosystems')
    parser.add_argument('checkpoint', help='encoder.pth or epoch_N.pth')
    parser.add_argument('--format', choices=NEEDS, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    args = parser.parse_args()
    if args.out.suffix not in SUFFIXES[args.format]:
        raise UserError(f'--out of format {args.format} must end with '
                        f'{" or ".join(SUFFIXES[args.format])}, not {str(args.out)!r}')
    needed = NEEDS[args.format] + ['safetensors'] * (args.out.suffix == '.safetensors')
    for package in needed:
        try:
            importlib.import_module(package)
        except ImportError:
            raise UserError(f'format {args.format} needs {package}: pip install {package}'
                            ) from None
    encoder = load_encoder(args.checkpoint, args.config)
    side = image_side(encoder)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    note = ''
    if args.format == 'timm':
        name, state = to_timm(encoder)
        write(state, args.out, name)
        note = f"; load it with timm.create_model('{name}', num_classes=0, " \
               f'checkpoint_path={str(args.out)!r})'
    elif args.format == 'safetensors':
        write(encoder.state_dict(), args.out, type(encoder).__name__)
    elif args.format == 'torch':
        torch.export.save(to_program(encoder, side), args.out)
    else:
        to_onnx(encoder, side, args.out)
    print(f'wrote {args.out}, {args.out.stat().st_size / 2**20:.1f} MiB{note}')


def write(state: dict, path: Path, architecture: str) -> None:
    if path.suffix == '.pth':
        torch.save(state, path)
        return
    from safetensors.torch import save_file
    save_file({name: value.contiguous() for name, value in state.items()}, path,
              metadata=dict(architecture=architecture))


if __name__ == '__main__':
    main()
