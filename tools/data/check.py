"""Finds images that cannot be read, or show nothing: python tools/data/check.py FOLDER."""
import sys

# The statistics.py of this folder is not the one that Python's own modules import.
sys.path = [place for place in sys.path if not place.endswith('tools/data')]

from mmwamim.commands import check
from mmwamim.commands.main import call
from mmwamim.errors import leave_with, told_in_one_line


@told_in_one_line()
def main() -> None:
    leave_with(call(check))


if __name__ == '__main__':
    main()
