from .images import UnlabelledImages

__all__ = ['UnlabelledImages']
