from .curves import draw_losses, read_accuracies, read_scalars
from .figures import save, to_array
from .hook import ReconstructionHook
from .mlflow import MLflowVisBackend
from .pictures import (
    draw_reconstructions,
    pyramid_figure,
    reconstruction_figure,
    wavelet_figure,
)

__all__ = ['MLflowVisBackend', 'ReconstructionHook', 'draw_losses', 'draw_reconstructions',
           'pyramid_figure', 'read_accuracies', 'read_scalars', 'reconstruction_figure', 'save',
           'to_array', 'wavelet_figure']
