"""The table of docs/benchmarks.md that needs a GPU: python tools/benchmark/gpu.py."""
from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(quiet_import('mmwamim.benchmarks.gpu'))


if __name__ == '__main__':
    main()
