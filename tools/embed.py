"""Writes the features of a folder: python tools/embed.py ENCODER FOLDER --out features.npz."""
from mmwamim.commands import embed
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(embed)


if __name__ == '__main__':
    main()
