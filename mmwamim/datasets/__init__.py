from .augment import RandAugment
from .channels import LoadChannels
from .collate import PathSamples, collate_images
from .crop import RandomCropToTensor, RandomResizedCrop, ResizeEdge
from .images import ClassFolders, UnlabelledImages
from .label_maps import LabelMapFolders, LoadLabelMap
from .loading import LoadImage
from .sampling import ResumableBatches, ResumableSampler, ResumableStream, SeededDataset

__all__ = [
    'ClassFolders', 'LabelMapFolders', 'LoadChannels', 'LoadImage', 'LoadLabelMap', 'PathSamples',
    'RandAugment', 'RandomCropToTensor', 'RandomResizedCrop', 'ResizeEdge', 'ResumableBatches',
    'ResumableSampler', 'ResumableStream', 'SeededDataset', 'UnlabelledImages', 'collate_images'
]
