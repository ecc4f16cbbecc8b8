from .pictures import draw_losses, draw_reconstructions, read_scalars

__all__ = ['draw_losses', 'draw_reconstructions', 'read_scalars']
