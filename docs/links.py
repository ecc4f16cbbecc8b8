"""A hook of mkdocs. Links that lead out of docs/, to configs and tools, become plain file names,
since the site holds the pages alone; formulas become MathML, which browsers draw without a script.
"""
import re

from latex2mathml.converter import convert

OUTSIDE = re.compile(r'\[([^\]]+)\]\(\.\./[^)]+\)')
CODE = re.compile(r'(```.*?```|`[^`\n]+`)', re.DOTALL)
BLOCK = re.compile(r'^\$\$(.+?)\$\$$', re.DOTALL | re.MULTILINE)
INLINE = re.compile(r'\$([^$\n]+(?:\n[^$\n]+)?)\$')


def on_page_markdown(markdown: str, **_) -> str:
    r"""
    >>> on_page_markdown('see [train.py](../tools/train.py) and [data](data.md)')
    'see train.py and [data](data.md)'
    >>> '<msup>' in on_page_markdown('of $2^k$ px'), on_page_markdown('`$HOME` and `$OUT`')
    (True, '`$HOME` and `$OUT`')
    """
    parts = CODE.split(markdown)
    parts[::2] = [_formulas(OUTSIDE.sub(r'\1', part)) for part in parts[::2]]
    return ''.join(parts)


def _formulas(text: str) -> str:
    text = BLOCK.sub(lambda found: _mathml(found[1], 'block'), text)
    return INLINE.sub(lambda found: _mathml(found[1], 'inline'), text)


def _mathml(formula: str, display: str) -> str:
    # Markdown would take the characters that mean something to it.
    mathml = convert(' '.join(formula.split()), display=display)
    mathml = re.sub(r'[*_|\\]', lambda found: f'&#{ord(found[0])};', mathml)
    if display == 'block':
        return f'<div style="overflow-x:auto">{mathml}</div>'
    return f'<span>{mathml}</span>'  # <math> at the start of a line would be a block
