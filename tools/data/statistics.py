"""Mean and deviation of each channel: python tools/data/statistics.py DATA [--channels 12]."""
import sys

# The statistics.py of this folder is not the one that Python's own modules import.
sys.path = [place for place in sys.path if not place.endswith('tools/data')]

from mmwamim.commands import statistics
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(statistics)


if __name__ == '__main__':
    main()
