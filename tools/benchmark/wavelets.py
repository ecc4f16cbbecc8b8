"""Times the wavelet transform against other libraries: python tools/benchmark/wavelets.py."""
from mmwamim.benchmarks import wavelets
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(wavelets)


if __name__ == '__main__':
    main()
