"""Finds the images of a folder that cannot be read, or that show nothing, before a run does.

    python tools/data/check.py FOLDER [--workers 8] [--report FILE] [--value-range LOW HIGH]
"""
from mmwamim.commands import check
from mmwamim.commands.main import call
from mmwamim.errors import leave_with, told_in_one_line


@told_in_one_line()
def main() -> None:
    leave_with(call(check))


if __name__ == '__main__':
    main()
