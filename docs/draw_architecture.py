"""Draws docs/architecture.svg and docs/architecture.png, the picture of the README.

The photograph and its wavelet coefficients are real, computed with PyWavelets; predictions are
drawn as empty grids. The files do not depend on when they are drawn. Run from the root:

    python docs/draw_architecture.py
"""
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pywt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image
from skimage.data import astronaut

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 10.0, 6.15
LEVELS = (2, 3, 4, 5)
WEIGHTS = (0.8, 0.9, 1.1, 1.2)
LAYERS = (3, 6, 9, 12)
RESIZES = ('grid × 4', 'grid × 2', 'same grid', 'grid ÷ 2')
COLUMNS = (5.0, 6.4, 7.8, 9.2)  # centre of each level's column
BLUE, ORANGE, GREEN, INK = '#dbe8f6', '#fbe3cc', '#ddefd8', '#222222'
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def photograph() -> np.ndarray:
    """uint8 (224, 224, 3), the head and shoulders of the picture, halved by averaging."""
    crop = astronaut()[:448, 16:464].astype(np.float64)
    return crop.reshape(224, 2, 224, 2, 3).mean((1, 3)).round().astype(np.uint8)


def draw_mask() -> np.ndarray:
    """bool (14, 14), 147 of 196 patches masked."""
    order = np.random.RandomState(3).permutation(196)
    mask = np.ones(196, dtype=bool)
    mask[order[:49]] = False
    return mask.reshape(14, 14)


def masked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    pixels = mask.repeat(16, 0).repeat(16, 1)[..., None]
    return np.where(pixels, 205, image).astype(np.uint8)


def visible_patches(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The 49 visible patches in raster order, seven in a row with gaps: (7 * 19, 7 * 19, 3)."""
    patches = image.reshape(14, 16, 14, 16, 3).swapaxes(1, 2)[~mask]
    sheet = np.full((7, 7, 19, 19, 3), 255, dtype=np.uint8)
    sheet[:, :, :16, :16] = patches.reshape(7, 7, 16, 16, 3)
    return sheet.swapaxes(1, 2).reshape(7 * 19, 7 * 19, 3)[:-3, :-3]


def coefficients(image: np.ndarray) -> list:
    """pywt.wavedec2 of the normalised image, 5 levels, subbands (h, w, 3)."""
    return pywt.wavedec2((image - MEAN) / STD, 'haar', mode='zero', level=5, axes=(0, 1))


def pyramid(coeffs: list) -> np.ndarray:
    """The usual picture of all subbands, each stretched to its own range, grey (224, 224)."""
    canvas = _grey(coeffs[0].mean(-1), signed=False)
    for details in coeffs[1:]:
        horizontal, vertical, diagonal = (_grey(band.mean(-1)) for band in details)
        canvas = np.block([[canvas, vertical], [horizontal, diagonal]])
    return canvas


def target(coeffs: list, level: int) -> np.ndarray:
    """One channel of a target as the model sees it: horizontal details of green, as contrasts in
    the image's units, bent like a logarithm."""
    contrast = coeffs[6 - level][0][..., 1] / 2**level
    return _grey(np.sign(contrast) * np.log1p(np.abs(contrast) / 0.05))


def _grey(band: np.ndarray, signed: bool = True) -> np.ndarray:
    high = np.percentile(np.abs(band), 98)
    low = -high if signed else band.min()
    high = high if signed else band.max()
    return (np.clip((band - low) / (high - low), 0, 1) * 255).astype(np.uint8)


class Canvas:
    """One set of axes measured in inches, origin at the lower left."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH, HEIGHT))
        self.axes = self.figure.add_axes([0, 0, 1, 1])
        self.axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.axes.set_aspect('equal')
        self.axes.axis('off')

    def picture(self, data: np.ndarray, x: float, y: float, size: float) -> None:
        """A square picture centred on x with its lower edge at y."""
        self.axes.imshow(data, extent=(x - size / 2, x + size / 2, y, y + size), zorder=3,
                         cmap='gray', vmin=0, vmax=255, interpolation='nearest')
        self.axes.add_patch(Rectangle((x - size / 2, y), size, size, fill=False, lw=0.6,
                                      ec='#555555', zorder=4))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))

    def grid(self, cells: int, x: float, y: float, size: float) -> None:
        """An empty grid of cells."""
        left = x - size / 2
        self.axes.add_patch(Rectangle((left, y), size, size, fc=BLUE, ec='#4a6f9c', lw=0.8))
        width = {56: 0.15, 28: 0.3, 14: 0.5, 7: 0.7}[cells]
        for step in np.linspace(0, size, cells + 1)[1:-1]:
            self.axes.plot([left + step] * 2, [y, y + size], color='#4a6f9c', lw=width,
                           snap=False)
            self.axes.plot([left, left + size], [y + step] * 2, color='#4a6f9c', lw=width,
                           snap=False)

    def box(self, x: float, y: float, width: float, height: float, colour: str, text: str,
            size: float = 9) -> None:
        """A rounded box centred on x with its lower edge at y."""
        self.axes.add_patch(FancyBboxPatch((x - width / 2, y), width, height, lw=0.9,
                                           boxstyle='round,pad=0,rounding_size=0.06',
                                           fc=colour, ec='#555555'))
        self.text(x, y + height / 2, text, size)

    def text(self, x: float, y: float, text: str, size: float = 9, **options) -> None:
        style = dict(ha='center', va='center', color=INK, linespacing=1.25)
        self.axes.text(x, y, text, fontsize=size, zorder=6, **{**style, **options})

    def arrow(self, *points, dashed: bool = False) -> None:
        """A line through the points with a head at the last one."""
        style = dict(color='#444444', lw=1.2, ls=(0, (3, 2)) if dashed else '-')
        for start, end in zip(points[:-2], points[1:-1]):
            self.axes.plot(*zip(start, end), zorder=2, solid_capstyle='round', **style)
        head = FancyArrowPatch(points[-2], points[-1], arrowstyle='-|>', mutation_scale=9,
                               shrinkA=0, shrinkB=0, lw=1.2, color='#444444',
                               ls='-' if not dashed else (0, (3, 2)), zorder=2)
        self.axes.add_patch(head)


def draw_encoder(canvas: Canvas, image: np.ndarray, mask: np.ndarray) -> None:
    """Upper row: image, masked image, visible patches, ViT."""
    base, size = 4.72, 1.15
    for x, data, caption in ((0.75, image, 'image\n3 × 224 × 224'),
                             (2.2, masked(image, mask), 'mask 75 %\n147 of 196 patches'),
                             (3.6, visible_patches(image, mask), '49 visible\npatches')):
        extent = size if x < 3 else 0.8
        canvas.picture(data, x, base + (size - extent) / 2, extent)
        canvas.text(x, base - 0.2 + (size - extent) / 2, caption, 8.5, va='center')
    middle = base + size / 2
    canvas.arrow((1.34, middle), (1.6, middle))
    canvas.arrow((2.79, middle), (3.17, middle))
    canvas.arrow((4.02, middle), (4.4, middle))
    for x, layer in zip(COLUMNS, LAYERS):
        canvas.box(x, middle - 0.28, 1.16, 0.56, GREEN, f'layers\n{layer - 2} to {layer}', 9)
    for left, right in pairwise(COLUMNS):
        canvas.arrow((left + 0.59, middle), (right - 0.6, middle))
    canvas.text(7.1, middle + 0.48, 'ViT encoder: class token and visible patches only', 9.5)


def draw_decoders(canvas: Canvas) -> None:
    """The columns from the tapped layers down to the predictions."""
    middle = 4.72 + 1.15 / 2
    for x, level, resize in zip(COLUMNS, LEVELS, RESIZES):
        cells = 224 >> level
        channels = 3 * (1 + 3 * level)
        canvas.arrow((x, middle - 0.3), (x, 4.63))
        canvas.box(x, 3.9, 1.2, 0.71, ORANGE, f'decoder\n256 wide, 1 block\n{resize}', 8.2)
        canvas.arrow((x, 3.88), (x, 3.68))
        canvas.grid(cells, x, 2.88, 0.78)
        canvas.text(x, 2.75, f'{channels} × {cells} × {cells}', 8.5)
        canvas.arrow((x, 2.63), (x, 2.44))
    canvas.text(4.1, 3.27, 'predictions', 9.5)


def draw_targets(canvas: Canvas, coeffs: list) -> None:
    """Lower row: wavelet pyramid, normalisation, targets."""
    canvas.arrow((0.75, 4.28), (0.75, 2.72))
    canvas.text(0.83, 3.55, 'Haar wavelet\ntransform,\n5 levels', 9, ha='left')
    left, base, size = 0.17, 0.5, 2.2
    canvas.picture(pyramid(coeffs), left + size / 2, base, size)
    for level in (1, 2, 3, 4, 5):
        edge = size / 2**level
        line = dict(color='#d8a200', lw=0.7, zorder=4)
        canvas.axes.plot([left + edge] * 2, [base + size - 2 * edge, base + size], **line)
        canvas.axes.plot([left, left + 2 * edge], [base + size - edge] * 2, **line)
    for level in (1, 2, 3):
        edge = size / 2**level
        canvas.text(left + 1.5 * edge, base + size - 1.5 * edge, str(level), 9,
                    bbox=dict(fc='white', ec='none', pad=1.2, alpha=0.9))
    canvas.text(left + size / 2, 0.24, 'details of levels 1 to 5 and the coarsest\n'
                'approximation; level 1 enters as energy', 8.5)
    canvas.arrow((2.4, 1.1), (2.68, 1.1))
    canvas.box(3.28, 0.75, 1.16, 0.7, GREEN, 'as contrasts,\nand the energy\nof finer levels', 8.2)
    canvas.arrow((3.88, 1.1), (4.5, 1.1))
    canvas.text(4.19, 1.27, 'targets', 9.5)
    for x, level in zip(COLUMNS, LEVELS):
        channels, cells = 3 * (1 + 3 * level), 224 >> level  # mean colour, details, energies
        canvas.picture(target(coeffs, level), x, 0.72, 0.78)
        canvas.text(x, 0.52, f'level {level}: {channels} × {cells} × {cells}', 8.2)
        canvas.arrow((x, 1.53), (x, 1.94))
    canvas.text(7.1, 0.24, 'shown of each target: the horizontal details of one colour', 8.5)


def draw_loss(canvas: Canvas) -> None:
    """The row where predictions and targets meet."""
    middle = 2.18
    for x, level, weight in zip(COLUMNS, LEVELS, WEIGHTS):
        canvas.box(x, middle - 0.22, 1.06, 0.44, 'white',
                   f'{weight} × loss of\nlevel {level}', 8.5)
    for left, right in pairwise(COLUMNS):
        canvas.text((left + right) / 2, middle, '+', 12)
    canvas.text(4.2, middle, 'loss  =', 9.5)
    canvas.arrow((2.2, 4.28), (2.2, 2.9), (2.75, 2.9), (2.75, middle), (3.86, middle), dashed=True)
    canvas.text(2.28, 3.55, 'the mask, rescaled\nto each grid, weights\nthe squared error', 9,
                ha='left')


def main() -> None:
    matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'mmwamim',
                                'image.composite_image': False,
                                'font.family': ['DejaVu Sans', 'sans-serif']})
    image, mask = photograph(), draw_mask()
    coeffs = coefficients(image)
    canvas = Canvas()
    draw_encoder(canvas, image, mask)
    draw_decoders(canvas)
    draw_targets(canvas, coeffs)
    draw_loss(canvas)
    canvas.figure.savefig(HERE / 'architecture.svg', metadata={'Date': None})
    picture = BytesIO()
    canvas.figure.savefig(picture, dpi=160)
    # 256 colours are enough, and make the file a third as large.
    Image.open(picture).convert('RGB').quantize(256).save(HERE / 'architecture.png',
                                                          optimize=True)


if __name__ == '__main__':
    main()
