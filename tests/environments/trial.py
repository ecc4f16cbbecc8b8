"""What is tried in each environment of matrix.py, with the installed package alone: the commands
and calls from a folder of images to an encoder in other libraries and to a classifier. Prints one
line of JSON.

Run in an empty directory: python trial.py
"""
import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import mmwamim

NAMES = ('torch', 'numpy', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv-lite',
         'onedl-mmpretrain', 'mmpretrain', 'timm', 'transformers', 'pycocotools', 'onnxruntime')
FORMATS = dict(timm='timm.safetensors', transformers='hf', safetensors='encoder.safetensors',
               mmpretrain='mmpretrain.pth', torch='encoder.pt2', onnx='encoder.onnx')


def command(*words: object) -> str:
    """What the installed command prints; of its errors, too."""
    done = subprocess.run([Path(sys.executable).with_name('mmwamim'), *map(str, words)],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f'mmwamim {words} ended with {done.returncode}:\n{done.stdout}')
    return done.stdout


def make_images(folder: Path) -> None:
    """Smooth colours and some noise."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for index in range(16):
        corners = random.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(corners).resize((96, 96), Image.Resampling.BICUBIC))
        noise = random.integers(0, 20, picture.shape)
        Image.fromarray(np.clip(picture + noise, 0, 255).astype('uint8')).save(
            folder / f'{index}.png')


def fine_tune(encoder: Path) -> float:
    """Fine-tunes for an epoch on two classes, and tests what it has left from its own files."""
    for index in range(16):
        split = 'train' if index < 12 else 'val'
        folder = Path('labelled', split, 'ab'[index % 2])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(f'images/{index}.png', folder)
    command('finetune', encoder, 'labelled', '--epochs', 1, '--batch-size', 4, '--workers', 0,
            '--out', 'tuned')
    config, = Path('tuned').glob('*.py')
    command('test', config, 'tuned/epoch_1.pth', '--out', 'metrics.json', '--out-item', 'metrics')
    return json.loads(Path('metrics.json').read_text())['accuracy/top1']


def features_elsewhere(images: torch.Tensor) -> dict:
    """Pooled features of images by the libraries that the encoder was exported to."""
    import onnxruntime
    from transformers import AutoImageProcessor, AutoModel
    model = AutoModel.from_pretrained('hf', add_pooling_layer=False).eval()
    AutoImageProcessor.from_pretrained('hf')
    with torch.no_grad():
        hidden = model(pixel_values=images).last_hidden_state
        exported = torch.export.load('encoder.pt2').module()(images)
    session = onnxruntime.InferenceSession('encoder.onnx')
    onnx = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    return dict(transformers=hidden[:, 1:].mean(dim=1), torch=exported.mean(dim=(2, 3)),
                onnx=torch.from_numpy(onnx).mean(dim=(2, 3)))


def models_of_mmpretrain() -> int:
    """How many of our models mmpretrain lists; one of them is built."""
    from mmpretrain import get_model, list_models
    names = list_models('*wamim*')
    get_model(next(name for name in names if name.startswith('wamim_vit')))
    return len(names)


def main() -> None:
    make_images(Path('images'))
    command('pretrain', 'images', '--arch', 'vit_tiny', '--epochs', 2, '--batch-size', 8,
            '--workers', 0, '--out', 'cli')
    command('doctor', '--steps', 1)
    run = mmwamim.pretrain('images', arch='vit_tiny', epochs=2, batch_size=8, workers=0, out='run')
    encoder = mmwamim.load_encoder(run.encoder)
    paths = [f'images/{index}.png' for index in range(3)]
    features = encoder.embed(paths)
    for name, out in FORMATS.items():
        command('export', run.encoder, '--to', name, '--out', out)
    images = torch.cat([encoder.preprocess(Image.open(path)) for path in paths])
    with torch.no_grad():
        own = encoder(images)
    apart = {name: float((own - other).abs().max())
             for name, other in features_elsewhere(images).items()}
    versions = {}
    for name in NAMES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    print(json.dumps(dict(
        loss=run.metrics['loss'], top1=fine_tune(run.encoder), apart=apart,
        features=list(features.shape), mean=float(np.abs(features).mean()),
        models=models_of_mmpretrain(), versions=versions)))


if __name__ == '__main__':
    main()
