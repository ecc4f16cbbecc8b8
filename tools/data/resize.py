"""Re-encodes a data set to a short side: python tools/data/resize.py IMAGENET IMAGENET_256."""
import sys

from mmwamim.commands.main import call, load
from mmwamim.errors import leave_with, told_in_one_line

# The statistics.py of this folder is not the one that other packages import.
sys.path = [place for place in sys.path if not place.endswith('tools/data')]


@told_in_one_line()
def main() -> None:
    leave_with(call(load('resize')))


if __name__ == '__main__':
    main()
