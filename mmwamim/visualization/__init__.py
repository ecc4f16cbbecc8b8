from .hook import ReconstructionHook
from .pictures import (
    draw_losses,
    draw_reconstructions,
    pyramid_figure,
    read_scalars,
    reconstruction_figure,
    save,
    wavelet_figure,
)

__all__ = ['ReconstructionHook', 'draw_losses', 'draw_reconstructions', 'pyramid_figure',
           'read_scalars', 'reconstruction_figure', 'save', 'wavelet_figure']
