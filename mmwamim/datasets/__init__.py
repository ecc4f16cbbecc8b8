from .collate import PathSamples, collate_images
from .crop import RandomCropToTensor
from .images import ClassFolders, UnlabelledImages
from .label_maps import LabelMapFolders, LoadLabelMap
from .loading import LoadImage
from .sampling import ResumableBatches, ResumableSampler, ResumableStream, SeededDataset

__all__ = [
    'ClassFolders', 'LabelMapFolders', 'LoadImage', 'LoadLabelMap', 'PathSamples',
    'RandomCropToTensor', 'ResumableBatches', 'ResumableSampler', 'ResumableStream',
    'SeededDataset', 'UnlabelledImages', 'collate_images'
]
