"""What the documentation and the commands' own help tell people to type: commands, options, targets
of make and files that exist."""
import argparse
import ast
import importlib
import re
import shlex
import sys
from functools import lru_cache
from glob import glob
from typing import Iterator, List, Tuple

import pytest

from mmwamim.commands.architectures import find_config
from mmwamim.commands.main import COMMANDS, load, parser_of
from tests.support.commands import ROOT, load_tool

PAGES = ['README.md', 'CONTRIBUTING.md',
         *sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md'))]
BLOCK = re.compile(r'^```\w*\n(.*?)^```', re.DOTALL | re.MULTILINE)
# Of Slurm and of containers.
OF_OTHERS = {'--nodes', '--gres', '--kill-on-bad-exit', '--ipc', '--shm-size', '--signal', '--time',
             '--partition', '--requeue', '--ntasks-per-node', '--cpus-per-task'}
OPTION = re.compile(r'--[a-z][\w-]*')


def lines_of(text: str) -> List[str]:
    """Lines of a page that may be commands: those of blocks, with what continues them, and what
    stands between single marks of code in a sentence."""
    blocks = [line for block in BLOCK.findall(text)
              for line in re.sub(r'\\\n\s*', ' ', block).splitlines()]
    return blocks + re.findall(r'`([^`\n]+)`', BLOCK.sub('', text))


def words_of(line: str) -> List[str]:
    """The words of a command line, without prompt, comment and variables before the command."""
    try:
        words = shlex.split(line.removeprefix('$ '), comments=True)
    except ValueError:  # a sentence with an apostrophe
        return []
    while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
        del words[0]
    return words


class Parsed(Exception):
    pass


@lru_cache(None)
def options_of(place: str) -> frozenset:
    """The options of a command, a script of tools/ or a module with a ``main``."""
    if place in COMMANDS:
        parser = parser_of(load(place))
    else:
        module = load_tool(place) if place.endswith('.py') else importlib.import_module(place)
        with pytest.MonkeyPatch.context() as patch:
            def stop(parser, *_, **__):
                raise Parsed(parser)
            for name in ('parse_args', 'parse_intermixed_args', 'parse_known_args'):
                patch.setattr(argparse.ArgumentParser, name, stop)
            patch.setattr(sys, 'argv', [place])
            with pytest.raises(Parsed) as told:
                getattr(module, 'main', None) and module.main()
        parser, = told.value.args
    return frozenset(parser._option_string_actions)


def calls(words: List[str]) -> Iterator[Tuple[str, List[str]]]:
    """What a command line calls, with the words that go to it."""
    if words[0] == 'mmwamim' and len(words) > 1 and words[1].islower():
        yield words[1], words[2:]
    if 'python' in words[0] and words[1:2] == ['-m'] and \
            words[2].startswith(('tests.', 'mmwamim.')):
        yield words[2], words[3:]
    for place, word in enumerate(words[:8]):
        if re.fullmatch(r'tools/[\w/]+\.(py|sh)', word) and ' ' not in word:
            # The shell scripts hand what follows to train.py or test.py.
            script = re.sub(r'\w+_(train|test)\.sh', r'\1.py', word.replace('_job', '_train'))
            yield script if script.endswith('.py') else '', words[place + 1:]
            break


def wrong_words(line: str) -> List[str]:
    """What in a line does not exist."""
    words, wrong = words_of(line), []
    if not words:
        return []
    if words[0] == 'make' and words[1:]:
        targets = re.search(r'^\.PHONY:(.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1]
        wrong += [word for word in words[1:2] if word.islower() and word not in targets.split()]
    for place, rest in calls(words):
        if '/' not in place and '.' not in place and place and place not in COMMANDS:
            wrong.append(f'mmwamim {place}')
        elif place:
            wrong += [word for word in rest if OPTION.match(word)
                      and OPTION.match(word)[0] not in options_of(place)]
    for word in words:
        if re.fullmatch(r'(configs|tools|mmwamim|tests|docs|requirements)/[\w./*{},-]+', word):
            if not any(glob(str(ROOT / f'{one}{end}')) for one in braces(word)
                       for end in ('', '.py')):
                wrong.append(word)
    return wrong


def braces(word: str) -> List[str]:
    found = re.search(r'\{([^{}]*)\}', word)
    return [word] if not found else [
        more for part in found[1].split(',')
        for more in braces(word[:found.start()] + part + word[found.end():])]


@pytest.mark.parametrize('page', PAGES)
def test_commands_and_options_of_a_page_exist(page):
    everywhere = set().union(*map(options_of, [*COMMANDS, 'tools/benchmark/scaling.py']), OF_OTHERS)
    lines = lines_of((ROOT / page).read_text())
    wrong = {line: found for line in lines if (found := wrong_words(line))}
    wrong.update({line: 'no command has it' for line in lines
                  if OPTION.match(line) and OPTION.match(line)[0] not in everywhere})
    assert not wrong


@pytest.mark.parametrize('name', COMMANDS)
def test_examples_of_a_help_exist(name):
    lines = re.findall(r'^ {4}(\S.*(?:\\\n.*)*)', load(name).__doc__, re.MULTILINE)
    assert any(line.startswith(f'mmwamim {name}') for line in lines)
    assert not {line: found for line in lines
                if (found := wrong_words(line.replace('\\\n', ' ')))}
    for word in re.sub(r'--out \S+', '', ' '.join(lines)).split():  # encoders and configs by name
        if found := re.fullmatch(r'((vit|swin|mae|localmim)_\w+)(:\d+)?', word):
            assert find_config(found[1]).is_file()


@pytest.mark.parametrize('line, wrong', [
    ('mmwamim pretrian photos', ['mmwamim pretrian']),
    ('$ mmwamim pretrain photos --epoch 3  # --workers', ['--epoch']),
    ('python tools/train.py configs/wamim/vit_b_400.py --dat x',
     ['--dat', 'configs/wamim/vit_b_400.py']),
    ('NNODES=2 tools/dist_train.sh configs/wamim/vit_{b,x}_400e.py 8 --fsd', ['--fsd']),
    ('tools/trian.py', ['tools/trian.py']), ('make tests', ['tests']),
    ('sbatch --nodes=4 tools/slurm_job.sh CONFIG --gpu 8', ['--gpu']),
    ("it's no command", []), ('mmwamim show RUN', [])])
def test_what_is_wrong_is_found(line, wrong):
    if line == 'tools/trian.py':
        with pytest.raises((FileNotFoundError, OSError)):
            load_tool(line)
        return
    assert wrong_words(line) == wrong


def texts_of_the_code() -> str:
    """Every string of the package and the scripts, with a gap where a value is put in."""
    texts = [path.read_text() for path in (ROOT / 'tools').glob('*.sh')]
    for folder in ('mmwamim', 'tools'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    texts.append('\0'.join(part.value for part in node.values
                                           if isinstance(part, ast.Constant)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return '\n'.join(texts)


# What stands for a value in a quoted message: dots, quotes, names in capitals, numbers, options.
VALUE = re.compile(r"\.\.\.|'[^']*'|\b[A-Z]\w*[A-Z]\w*|\b\d[\d.%]*|--\w+( \w+){0,2}|\w+\.pth|"
                   '[:;(),%]')


def test_messages_of_the_table_are_those_of_the_code():
    page = (ROOT / 'docs/operations.md').read_text().split('\n## Messages\n')[1]
    rows = [row for row in page.splitlines() if row.startswith('|')][2:]
    cells = re.findall(r'^\| (`.*?) \|', '\n'.join(rows), re.MULTILINE)
    assert len(cells) == len(rows) > 0  # none is passed over
    messages = [text for cell in cells for text in re.findall(r'`([^`]+)`', cell)
                if not text.startswith('sbatch: ')]
    known = texts_of_the_code()
    parts = {part.strip() for text in messages
             for part in VALUE.sub('\0', text.removeprefix('error: ')).split('\0')}
    assert not [part for part in parts if len(part.split()) > 1 and part not in known]
