"""How pre-training scales over GPUs: python tools/benchmark/scaling.py --images-per-second N."""
from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(quiet_import('mmwamim.benchmarks.scaling'))


if __name__ == '__main__':
    main()
