"""Where images lie: one small interface, and a file for each kind of place."""
from .base import Records, Source
from .folder import FolderSource
from .listed import ListedSource, from_label_file

__all__ = ['FolderSource', 'ListedSource', 'Records', 'Source', 'from_label_file']
