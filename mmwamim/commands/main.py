"""The command ``mmwamim COMMAND ...``."""
import argparse
import contextlib
import difflib
import io
import os
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import List, Optional, Sequence

from mmwamim.errors import UserError, leave_with, told_in_one_line
from mmwamim.version import __version__

COMMANDS = dict(
    pretrain='pre-train an encoder on a folder of images, without labels',
    finetune='fine-tune an encoder as a classifier',
    probe='how good frozen features are: k-NN, linear accuracy, effective rank',
    embed='write the features of a folder of images',
    export='write an encoder for timm, transformers, ONNX, ...',
    show='draw losses and reconstructions of a run, or the wavelets of an image',
    compare='time, memory and FLOPs of training steps',
    check='find the images that cannot be read',
    resize='re-encode a folder of images to a short side, once',
    statistics='mean and deviation of each channel of images',
    sweep='pre-train, probe and fine-tune a list of configs, into one table',
    robustness='score a classifier on ImageNet-A, -R, -Sketch and -C',
    corruptions='make a small ImageNet-C of any images',
    predictions='pictures of a detector\'s or segmenter\'s predictions',
    quickstart='pre-train on handwritten digits and look at it',
    doctor='versions, GPUs, what is missing, and what a step costs here',
    train='train any config, with every option',
    test='evaluate a checkpoint on a config\'s test set')


# Said by packages below while they are imported, of parts that nothing here needs.
UNNEEDED = ('Could not import OneDL', 'Line NMS is not compiled', 'cannot work without CUDA',
            'compiled with CUDA support use FORCE_CUDA=1')
UNNEEDED_WARNING = 'Fail to import ``MultiScaleDeformableAttention``'


def quiet_import(name: str) -> ModuleType:
    """A module, imported without what other packages print of unneeded parts."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message=UNNEEDED_WARNING)
        module = import_module(name)
    for line in printed.getvalue().splitlines():
        if line and not any(text in line for text in UNNEEDED):
            print(line)
    return module


def load(name: str) -> ModuleType:
    """The file of a command."""
    return quiet_import(f'mmwamim.commands.{name}')


def overview() -> str:
    """What ``mmwamim --help`` prints."""
    width = max(map(len, COMMANDS)) + 2
    rows = '\n'.join(f'  {name:<{width}}{text}' for name, text in COMMANDS.items())
    return ('usage: mmwamim COMMAND [options]\n\n'
            f'mmwamim {__version__}: from a folder of images to an encoder.\n\n{rows}\n\n'
            'mmwamim COMMAND --help has options and an example:\n\n  mmwamim pretrain FOLDER')


def parser_of(command: ModuleType, prog: Optional[str] = None) -> argparse.ArgumentParser:
    """The parser of a command: its file's docstring, without the marks of code, and its options."""
    parser = argparse.ArgumentParser(
        prog=prog, description=command.__doc__.replace('``', ''),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    return parser


def call(command: ModuleType, words: Optional[Sequence[str]] = None,
         prog: Optional[str] = None) -> Optional[int]:
    """Parses the words of a command line (default: this process's) and runs the command.

    Returns:
        The exit code, if it is not 0.
    """
    return command.run(parser_of(command, prog).parse_intermixed_args(words))


@told_in_one_line()
def main(words: Optional[List[str]] = None) -> None:
    """Runs ``mmwamim``; what is wrong becomes one line and exit code 1."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        os.getcwd()
    except FileNotFoundError:  # of which torch's libraries make an error of their own
        raise UserError('the current folder is gone: cd to one that is there') from None
    if not words or words[0] in ('-h', '--help', 'help'):
        print(overview())
        return
    if words[0] in ('-V', '--version'):
        print(__version__)
        return
    name = words.pop(0)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        raise UserError(f'there is no command {name!r}; '
                        + (f'did you mean {near[0]!r}?' if near
                           else f'there are {", ".join(COMMANDS)}'))
    leave_with(call(load(name), words, f'mmwamim {name}'))
