"""Small generated data sets in the layouts of ImageNet, COCO and ADE20K."""
import json
from pathlib import Path

import numpy as np
from PIL import Image


def write(path: Path, pixels: np.ndarray, **options) -> None:
    """A picture file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def turned(number: int) -> Image.Exif:
    """EXIF that says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def make_images(folder: Path, count: int, size: int = 40) -> Path:
    """``count`` noisy pictures."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(
            folder / f'{number:03d}.png')
    return folder


def make_classes(root: Path, classes: int = 2, train: int = 6, val: int = 2) -> Path:
    """train/<class>/* and val/<class>/* of pictures of 32 pixels."""
    for split, count in (('train', train), ('val', val)):
        for name in range(classes):
            make_images(root / split / f'class{name}', count, 32)
    return root


def write_classes(folder, wnids, number, edge, seed):
    """``number`` pictures, ``edge`` wide, in a folder of each class: a colour and coarse noise, so
    that what a network sees varies."""
    random = np.random.default_rng(seed)
    for wnid in wnids:
        (folder / wnid).mkdir(parents=True)
        for i in range(number):
            coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((edge, edge), Image.NEAREST).save(
                folder / wnid / f'{i}.png')


def scene(rng, height: int, width: int):
    """A noisy picture with one bright rectangle: pixels (H, W, 3) and the box (x, y, w, h)."""
    pixels = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
    w, h = int(rng.integers(24, width // 2)), int(rng.integers(24, height // 2))
    x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    pixels[y:y + h, x:x + w] += rng.integers(80, 170, 3, dtype=np.uint8)
    return pixels, (x, y, w, h)


def make_imagenet(root: Path, classes: int = 2, train: int = 4, val: int = 2) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (('train', train), ('val', val)):
        for name in range(classes):
            folder = root / split / f'class{name}'
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(scene(rng, 96, 128)[0]).save(folder / f'{number}.jpg')
    return root


def make_coco(root: Path, count: int = 2) -> Path:
    from mmdet.datasets import CocoDataset
    rng = np.random.default_rng(1)
    names = CocoDataset.METAINFO['classes']
    for split in ('train2017', 'val2017'):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            pixels, (x, y, w, h) = scene(rng, 160, 192)
            Image.fromarray(pixels).save(root / split / f'{number}.jpg')
            images.append(dict(id=number, file_name=f'{number}.jpg', width=192, height=160))
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(dict(id=number + 1, image_id=number, category_id=1, iscrowd=0,
                                    bbox=[x, y, w, h], area=w * h, segmentation=[outline]))
        (root / 'annotations').mkdir(exist_ok=True)
        (root / f'annotations/instances_{split}.json').write_text(json.dumps(dict(
            images=images, annotations=annotations,
            categories=[dict(id=i + 1, name=name) for i, name in enumerate(names)])))
    return root


def make_ade(root: Path, count: int = 2) -> Path:
    rng = np.random.default_rng(2)
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            pixels, (x, y, w, h) = scene(rng, 160, 192)
            labels = np.ones((160, 192), dtype=np.uint8)
            labels[y:y + h, x:x + w] = 2
            Image.fromarray(pixels).save(root / f'images/{split}/{number}.jpg')
            Image.fromarray(labels).save(root / f'annotations/{split}/{number}.png')
    return root


def make_sizes(root: Path) -> Path:
    """Four smooth pictures of different sizes and endings, and a file that is none."""
    rng = np.random.default_rng(0)
    for name, size in (('a/wide.jpg', (300, 200)), ('a/tall.png', (200, 500)),
                       ('b/small.JPEG', (60, 50)), ('b/tall.jpg', (100, 101))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        small.resize(size, Image.BICUBIC).save(root / name)
    (root / 'notes.txt').write_text('not an image')
    return root
