from .crop import RandomCropToTensor
from .images import ClassFolders, UnlabelledImages
from .label_maps import LabelMapFolders, LoadLabelMap
from .loading import LoadImage
from .sampling import ResumableSampler

__all__ = ['ClassFolders', 'LabelMapFolders', 'LoadImage', 'LoadLabelMap', 'RandomCropToTensor',
           'ResumableSampler', 'UnlabelledImages']
