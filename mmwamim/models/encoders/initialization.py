"""How encoders are initialised."""
from typing import Optional, Sequence, Union


def loads_checkpoint(init_cfg: Optional[Union[dict, Sequence[dict]]]) -> bool:
    """Whether an ``init_cfg``, one or a list, loads a checkpoint: then nothing may be drawn anew
    after it. mmpretrain looks at a single one only."""
    configs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return any(config and config.get('type') == 'Pretrained' for config in configs)
