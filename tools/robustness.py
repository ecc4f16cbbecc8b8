"""Scores a classifier on ImageNet-A, -R, -Sketch and -C: tools/robustness.py CONFIG CHECKPOINT."""
from mmwamim.commands.main import call, load
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(load('robustness'))


if __name__ == '__main__':
    main()
