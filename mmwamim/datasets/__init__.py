from .crop import RandomCropToTensor
from .images import UnlabelledImages
from .loading import LoadImage
from .sampling import ResumableSampler

__all__ = ['LoadImage', 'RandomCropToTensor', 'ResumableSampler', 'UnlabelledImages']
