"""`make quickstart`: from unlabelled pictures to a pre-trained encoder, pictures and one figure."""
import os
from pathlib import Path

from mmwamim.commands.main import call, load
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    os.chdir(Path(__file__).resolve().parents[1])
    call(load('quickstart'))


if __name__ == '__main__':
    main()
