"""Times a pre-training step against its peer: python tools/benchmark/step.py [--encoder swin_b]."""
from mmwamim.benchmarks import step
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(step)


if __name__ == '__main__':
    main()
