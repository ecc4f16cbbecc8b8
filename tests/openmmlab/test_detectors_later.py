"""mmpretrain's part that is made of mmdet comes with mmdet, not before."""
import subprocess
import sys

import pytest

from tests.support.commands import ROOT

UTILS = 'sys.modules["mmpretrain.models.utils"].ResLayerExtraNorm'


@pytest.mark.parametrize('code', [
    # as mmdet's registry does when it is asked for a model
    f'import mmwamim, mmpretrain.models; '
    f'assert {UTILS} is None and "mmdet" not in sys.modules; import mmdet.models',
    # as custom_imports of mmpretrain's own detection configs
    f'import mmwamim, mmpretrain.models; '
    f'import mmpretrain.models.utils.res_layer_extra_norm as part; '
    f'assert part.ResLayerExtraNorm is {UTILS}',
])
def test_it_is_there_when_it_is_wanted(code):
    pytest.importorskip('mmdet')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c',
         f'import sys; {code}; from mmdet.registry import MODELS; '
         f'assert MODELS.get("ResLayerExtraNorm") is {UTILS} is not None; '
         f'print({UTILS}.__mro__[1].__name__)'],
        cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == 'ResLayer'
