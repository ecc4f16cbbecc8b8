"""Evaluates a checkpoint on a config's test set: python tools/test.py CONFIG CHECKPOINT."""
from mmwamim.commands import test
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(test)


if __name__ == '__main__':
    main()
