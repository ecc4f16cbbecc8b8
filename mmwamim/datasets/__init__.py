from .images import UnlabelledImages
from .sampling import ResumableSampler

__all__ = ['ResumableSampler', 'UnlabelledImages']
