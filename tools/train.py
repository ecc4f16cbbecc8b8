"""Trains a model: python tools/train.py CONFIG [--data FOLDER] [options]."""
import argparse
import signal

if __name__ == '__main__':
    # Slurm's signal before the time limit would kill a process that is still importing: it waits
    # until StopRequest listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

from mmwamim.commands.train import add_arguments, options_of, run
from mmwamim.engine.config.settle import RunOptions
from mmwamim.errors import told_in_one_line


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    add_arguments(parser)
    return parser.parse_args()


def parse_args() -> RunOptions:
    return options_of(arguments())


@told_in_one_line()
def main() -> None:
    run(arguments())


if __name__ == '__main__':
    main()
