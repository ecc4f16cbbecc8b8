"""Makes a small ImageNet-C: python tools/data/make_corruptions.py IMAGES OUT."""
import sys

from mmwamim.commands.main import call, load
from mmwamim.errors import leave_with, told_in_one_line

# The statistics.py of this folder is not the one that other packages import.
sys.path = [place for place in sys.path if not place.endswith('tools/data')]


@told_in_one_line()
def main() -> None:
    leave_with(call(load('corruptions')))


if __name__ == '__main__':
    main()
