"""Where images lie: one small interface, and a file for each kind of place."""
from .base import Records, Source
from .listed import from_label_file
from .opening import is_other, kind_of_place, open_source

__all__ = ['Records', 'Source', 'from_label_file', 'is_other', 'kind_of_place', 'open_source']
