"""Times a pre-training step against its peer: python tools/benchmark/step.py [--encoder swin_b]."""
from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(quiet_import('mmwamim.benchmarks.step'))


if __name__ == '__main__':
    main()
