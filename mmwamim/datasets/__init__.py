from .crop import RandomCropToTensor
from .images import ClassFolders, UnlabelledImages
from .loading import LoadImage
from .sampling import ResumableSampler

__all__ = ['ClassFolders', 'LoadImage', 'RandomCropToTensor', 'ResumableSampler',
           'UnlabelledImages']
