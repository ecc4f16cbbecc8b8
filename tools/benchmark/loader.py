"""Images a second that one core reads and crops: python tools/benchmark/loader.py DATA."""
from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(quiet_import('mmwamim.benchmarks.loader'))


if __name__ == '__main__':
    main()
