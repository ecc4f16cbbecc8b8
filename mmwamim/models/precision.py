"""What autocast would do, where it would do it more often or in more memory than needed."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def precision_of(tensor: Tensor) -> torch.dtype:
    """The type in which linear layers and attention compute with a tensor."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


def in_low_precision(parameter: Tensor) -> Tensor:
    """A parameter as autocast hands it to linear layers: once, and not again for each part that is
    cut out of it. Without autocast the parameter itself."""
    return parameter.to(precision_of(parameter))


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """``norm`` over the last dimension in the precision of ``x``, where autocast would write
    float32: statistics are float32 inside of it anyway."""
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype),
                            norm.bias.to(x.dtype), norm.eps)
