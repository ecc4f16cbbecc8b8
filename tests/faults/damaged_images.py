"""Folders with images that cannot be read, of twelve kinds, among good ones.

    python -m tests.faults.damaged_images OUT --good 1800 --bad 200

Then: python tools/data/check.py OUT, and a training run on OUT.
"""
import argparse
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def encode(form: str, seed: int = 0, side: int = 72) -> bytes:
    """A good picture."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def enormous_png() -> bytes:
    """A PNG of 60000 x 60000 pixels in a few bytes: a decompression bomb."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(name + data))
        return struct.pack('>I', len(data)) + name + data + check

    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(b'\0' * 1000)) + chunk(b'IEND', b''))


JPEG, PNG = encode('JPEG'), encode('PNG')
DAMAGED = {
    'empty.jpg': b'',
    'one_byte.jpg': b'\xff',
    'text.jpg': b'this is no picture\n' * 20,
    'html.png': b'<html><body>404 not found</body></html>',
    'zeros.jpg': b'\0' * 2000,
    'header_only.jpg': JPEG[:20],
    'cut_off.jpg': JPEG[:len(JPEG) // 2],
    'cut_off.png': PNG[:len(PNG) // 2],
    'wrong_check_value.png': PNG[:len(PNG) // 2] + b'\xff\0\xff' + PNG[len(PNG) // 2 + 3:],
    'bomb.png': enormous_png(),
    'cut_off.webp': encode('WEBP')[:300],
    'cut_off.bmp': encode('BMP')[:60],
}


def main() -> None:
    parser = argparse.ArgumentParser(description='Make a folder with damaged images')
    parser.add_argument('out', type=Path)
    parser.add_argument('--good', type=int, default=1800)
    parser.add_argument('--bad', type=int, default=200)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    for number in range(args.good):
        (args.out / f'good_{number:05d}.jpg').write_bytes(encode('JPEG', number))
    kinds = list(DAMAGED.items())
    for number in range(args.bad):
        name, data = kinds[number % len(kinds)]
        (args.out / f'bad_{number:05d}_{name}').write_bytes(data)
    print(f'{args.good} good and {args.bad} damaged images of {len(kinds)} kinds in {args.out}')


if __name__ == '__main__':
    main()
