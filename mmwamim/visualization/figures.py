"""Figures of matplotlib, drawn without a screen."""
from pathlib import Path
from typing import Union

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Path_ = Union[str, Path]


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches."""
    figure = Figure(figsize=(width, height), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, out: Path_) -> None:
    """Writes a figure to a picture file."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def to_array(figure: Figure) -> np.ndarray:
    """A figure as uint8 (H, W, 3), RGB."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
