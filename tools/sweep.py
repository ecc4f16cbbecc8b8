"""Runs a list of configs and collects one table: python tools/sweep.py CONFIG ... --data FOLDER."""
from mmwamim.commands.main import call, load
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(load('sweep'))


if __name__ == '__main__':
    main()
