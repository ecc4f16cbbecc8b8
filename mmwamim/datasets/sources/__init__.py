"""Where images lie: one small interface, and a file for each kind of place."""
from .base import JoinedSource, Records, Source
from .listed import ListedSource
from .opening import is_other, kind_of_place, name_of_place, open_listed, open_source
from .parts import (
    is_images_folder,
    open_all,
    open_labelled,
    open_part,
    parts_of,
    places_of_splits,
)

__all__ = ['JoinedSource', 'ListedSource', 'Records', 'Source', 'is_images_folder', 'is_other',
           'kind_of_place', 'name_of_place', 'open_all', 'open_labelled', 'open_listed',
           'open_part', 'open_source', 'parts_of', 'places_of_splits']
