"""How pre-training scales over GPUs: python tools/benchmark/scaling.py --images-per-second N."""
from mmwamim.benchmarks import scaling
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(scaling)


if __name__ == '__main__':
    main()
