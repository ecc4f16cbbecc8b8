"""The table of docs/benchmarks.md that needs a GPU: python tools/benchmark/gpu.py."""
from mmwamim.benchmarks import gpu
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(gpu)


if __name__ == '__main__':
    main()
