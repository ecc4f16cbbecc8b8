"""Compares pre-training steps of configs: python tools/compare.py CONFIG[:BATCH] ..."""
from mmwamim.commands import compare
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(compare)


if __name__ == '__main__':
    main()
