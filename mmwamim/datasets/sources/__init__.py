"""Where images lie: one small interface, and a file for each kind of place."""
from .base import JoinedSource, Records, Source
from .listed import ListedSource
from .opening import is_other, kind_of_place, name_of_place, open_all, open_listed, open_source

__all__ = ['JoinedSource', 'ListedSource', 'Records', 'Source', 'is_other', 'kind_of_place',
           'name_of_place', 'open_all', 'open_listed', 'open_source']
