"""Where in a checkpoint the tensors of an encoder are, and under which prefix."""
import re
from typing import Dict, List, Optional, Tuple

from torch import Tensor

from mmwamim.errors import UserError

# Where a checkpoint keeps its tensors: the averaged ones first, then these, then others.
AVERAGED = r'(.*_)?(ema|averaged|shadow|swa)(_.*)?'
CONTAINERS = ('state_dict', 'teacher', 'target_encoder', 'model', 'model_state_dict', 'module')
LAST = ('encoder', 'student')
# Of several encoders in one dict the one that their authors go on with, by the first of these that
# is in its prefix.
WANTED = (r'(^|[._])ema[._]', 'teacher', 'target', 'base_encoder', 'encoder_q')
# What torch puts between a module's name and its parameters'.
WRAPPERS = r'\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
CHUNK = r'\b(blocks\.)\d+\.(?=\d+\.)'  # in which DINOv2 shards layers, whose numbers follow
PATCHES = ('patch_embed.projection.weight', 'patch_embed.proj.weight',
           'embeddings.patch_embeddings.projection.weight')


def encoder_dict(found: dict, place: str = '') -> Optional[Tuple[dict, str]]:
    """The dict that has an encoder's tensors, and the keys on the way to it."""
    if any(str(name).endswith(PATCHES) for name in found):
        return found, place
    inner = (encoder_dict(found[key], f'{place}[{key!r}]') for key in _containers(found))
    return next((one for one in inner if one is not None), None)


def innermost_dict(found: dict) -> dict:
    """For the message: what is in a checkpoint without such tensors."""
    inner = next((found[key] for key in _containers(found) if key in CONTAINERS), None)
    return found if inner is None else innermost_dict(inner)


def _containers(found: dict) -> List[str]:
    """The keys of a checkpoint that may hold its tensors, those to be taken first ahead."""
    # MMEngine saves averaged ones as state_dict, and beside them the others as ema_state_dict
    last = (*LAST, 'ema_state_dict') if 'state_dict' in found else LAST
    order = [*(key for key in found if re.fullmatch(AVERAGED, str(key)) and key not in last),
             *CONTAINERS, *(key for key in found if key not in last), *last]
    return [key for key in dict.fromkeys(order) if isinstance(found.get(key), dict)]


def encoder_part(state: Dict[str, Tensor], source: str, prefix: Optional[str]
                  ) -> Tuple[Dict[str, Tensor], List[str]]:
    """The tensors of the encoder without prefix, and the names of the others."""
    found = [name.removesuffix(patch) for name in state for patch in PATCHES
             if name.endswith('.' + patch) or name == patch]
    if prefix is not None:
        found = [one for one in found if one == prefix]
    if len(found) > 1:
        wanted = [one for one in found if one in ('', 'backbone.')] or next(filter(None, (
            [one for one in found if re.search(pattern, one)] for pattern in WANTED)), [])
        if len(wanted) != 1:
            raise UserError(f'{source!r} holds several encoders, {", ".join(map(repr, found))}: '
                            'name one with prefix in init_cfg')
        found = wanted
    if not found:
        first = ', '.join(list(state)[:3]) or 'no tensors'
        raise UserError(f'{source!r} holds no ViT or Swin Transformer that is known here (first '
                        f'names: {first})')
    start, = found
    return ({name[len(start):]: value for name, value in state.items() if name.startswith(start)},
            [name for name in state if not name.startswith(start)])
