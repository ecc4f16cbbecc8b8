"""What is tried in each environment of matrix.py, with the installed package alone: pre-training,
its encoder loaded and asked for features, and export. Prints one line of JSON.

Run in an empty directory: python trial.py
"""
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from PIL import Image

import mmwamim

NAMES = ('torch', 'numpy', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv-lite',
         'onedl-mmpretrain', 'mmpretrain', 'timm')


def main() -> None:
    random = np.random.default_rng(0)
    Path('images').mkdir()
    for index in range(16):  # smooth colours and some noise
        corners = random.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(corners).resize((96, 96), Image.Resampling.BICUBIC))
        noise = random.integers(0, 20, picture.shape)
        Image.fromarray(np.clip(picture + noise, 0, 255).astype('uint8')).save(
            f'images/{index}.png')
    run = mmwamim.pretrain('images', arch='vit_tiny', epochs=2, batch_size=8, workers=0, out='run')
    encoder = mmwamim.load_encoder(run.encoder)
    picture = Image.open('images/0.png')
    features = encoder(encoder.preprocess(picture))
    mmwamim.export(run.encoder, 'timm', 'encoder.safetensors')
    mmwamim.export(run.encoder, 'torch', 'encoder.pt2')
    versions = {}
    for name in NAMES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    print(json.dumps(dict(loss=run.metrics['loss'], features=list(features.shape),
                          mean=float(features.abs().mean()), versions=versions,
                          exported=sorted(path.name for path in Path('.').glob('encoder*')))))


if __name__ == '__main__':
    main()
