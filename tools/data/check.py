"""Finds images that cannot be read, or show nothing: python tools/data/check.py FOLDER."""
import sys

from mmwamim.commands.main import call, load
from mmwamim.errors import leave_with, told_in_one_line

# The statistics.py of this folder is not the one that other packages import.
sys.path = [place for place in sys.path if not place.endswith('tools/data')]


@told_in_one_line()
def main() -> None:
    leave_with(call(load('check')))


if __name__ == '__main__':
    main()
