"""Mean and deviation of each channel: python tools/data/statistics.py DATA [--channels 12]."""
import sys

from mmwamim.commands.main import call, load
from mmwamim.errors import told_in_one_line

# The statistics.py of this folder is not the one that other packages import.
sys.path = [place for place in sys.path if not place.endswith('tools/data')]


@told_in_one_line()
def main() -> None:
    call(load('statistics'))


if __name__ == '__main__':
    main()
