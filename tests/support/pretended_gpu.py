"""A GPU that is not there: what a forward pass would do on one, counted.

Tensors of device 'cuda' are PyTorch's fake ones, which have shapes, types and a device, and no
values. Tensors of the CPU are real, so what is planned there is planned. An operation that mixes
devices or types as a GPU would refuse it fails, and what reads a value back is counted.
"""
from collections import Counter
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
# Neither kernels nor views: memory that is asked for, and questions.
NO_KERNEL = (aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty,
             aten.new_empty_strided, aten.detach, aten.lift_fresh, aten._unsafe_view,
             torch.ops.prim.device)
# Their results have as many values as are found: the host must wait to know their shapes.
READS = (aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select,
         aten._unique2)
# Kernels that want all their tensors of one type.
ONE_TYPE = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution, aten.native_layer_norm,
            aten._scaled_dot_product_flash_attention, aten._scaled_dot_product_efficient_attention)
RANDOM_FILL = (aten.uniform_, aten.normal_)


class PretendedGPU(TorchDispatchMode):
    """A context in which 'cuda' is a device.

    Attributes:
        counts (Counter): 'uploads' to the GPU, 'read-backs', 'kernels', and among them 'casts'
            from one type to another; and every kernel by its name.
        share (float): Of True among bool tensors whose True values are asked for.
    """

    def __init__(self):
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.counts, self.building = Counter(), False
        self.share = 0.5

    def __enter__(self):
        self.stack = ExitStack()
        self.stack.enter_context(self.fake)
        self.stack.enter_context(FusedAttention())
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.stack.close()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        wanted = torch.device(kwargs.get('device') or 'cpu').type
        fakes = [tensor for tensor in tensors if isinstance(tensor, FakeTensor)]
        if not fakes and wanted != 'cuda':
            return self._on_cpu(func, args, kwargs)
        packet = func.overloadpacket
        if packet is aten._to_copy and fakes and wanted == 'cpu' and kwargs.get('device'):
            self.counts['read-backs'] += 1
        if packet in (aten.index, aten.index_put_, aten._index_put_impl_):
            indices = [self._nonzero(index) if index is not None and index.dtype == torch.bool
                       else [index] for index in args[1]]
            args = (args[0], [index for group in indices for index in group], *args[2:])
        if packet in READS:
            return self._read(packet, args)
        # Scalars become arguments of kernels; a list of indices is copied over.
        if any(tensor.dim() for tensor in tensors if not isinstance(tensor, FakeTensor)):
            self.counts['uploads'] += 1
        kinds = {tensor.dtype for tensor in tensors}
        if packet in ONE_TYPE and len(kinds) > 1:
            raise RuntimeError(f'{func} wants tensors of one type, not {kinds}')
        out = func(*args, **kwargs)
        if packet is aten.bitwise_not:
            out.share = 1 - getattr(args[0], 'share', self.share)
        if not func.is_view and packet not in NO_KERNEL:
            self.counts['kernels'] += 1
            self.counts[packet.__name__] += 1
            if packet is aten._to_copy and args[0].dtype != out.dtype:
                self.counts['casts'] += 1
        return out

    def _read(self, packet, args):
        """What a GPU might have answered."""
        self.counts['read-backs'] += 1
        if packet is aten.nonzero:
            count = round(args[0].numel() * getattr(args[0], 'share', self.share))
            return torch.zeros(count, args[0].dim(), dtype=torch.long, device='cuda')
        if packet is aten._local_scalar_dense:
            return 1. if args[0].is_floating_point() else 1
        raise NotImplementedError(f'{packet} on a pretended GPU')

    def _nonzero(self, mask):
        return self._read(aten.nonzero, (mask, )).unbind(1)

    def _on_cpu(self, func, args, kwargs):
        if func.overloadpacket is aten.is_pinned:
            return False
        if self.building and func.overloadpacket in RANDOM_FILL:
            return args[0]
        with unset_fake_temporarily():
            if func.overloadpacket is aten._pin_memory:
                return args[0].clone()
            return func(*args, **kwargs)

    def build(self, make):
        """What ``make`` builds, moved to the pretended GPU. Weights are never drawn."""
        self.building = True
        model = make()
        self.building = False
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(parameter.data.to('cuda'),
                                                            parameter.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.to('cuda')
            if hasattr(module, '_device'):  # MMEngine's data preprocessors ask it
                module._device = torch.device('cuda')
        for module in model.modules():
            if hasattr(module, 'avg_parameters'):  # MMEngine's averages hold them by name
                module.avg_parameters = dict(module.module.named_parameters())
        self.counts.clear()
        return model


class FusedAttention(TorchFunctionMode):
    """Attention by the kernels that PyTorch chooses on a GPU: one, after what they ask for."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention or args[0].device.type != 'cuda':
            return func(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    @staticmethod
    def _attend(query, key, value, attn_mask=None, dropout_p=0., is_causal=False, scale=None):
        assert query.dtype == key.dtype == value.dtype
        if attn_mask is None:
            return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p,
                                                            is_causal, scale=scale)[0]
        if any(stride % 8 for stride in attn_mask.stride()[:-1]):  # what the kernel demands
            attn_mask = F.pad(attn_mask, (0, -attn_mask.shape[-1] % 8))[..., :attn_mask.shape[-1]]
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
        return aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale)[0]


@contextmanager
def bfloat16():
    """What ``torch.autocast('cuda', torch.bfloat16)`` does, which asks for a GPU first."""
    before = torch.is_autocast_enabled('cuda'), torch.get_autocast_dtype('cuda')
    torch.set_autocast_enabled('cuda', True)
    torch.set_autocast_dtype('cuda', torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled('cuda', before[0])
        torch.set_autocast_dtype('cuda', before[1])


# Operations that wait for the device to hand a value to the host.
READ_BACKS = {'aten._local_scalar_dense.default', 'aten.nonzero.default',
              'aten.masked_select.default', 'aten.is_nonzero.default'}


class NoReadBack(TorchDispatchMode):
    """Fails where a value of a tensor is read: on a GPU the host would wait there."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        assert str(function) not in READ_BACKS, f'{function}: a value is read back'
        return function(*arguments, **(keywords or {}))
