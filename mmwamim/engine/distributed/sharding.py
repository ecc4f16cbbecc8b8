"""Training with weights, gradients and optimizer state shared out among the processes (FSDP)."""
from typing import Any, Callable, Optional

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _NormBase

from mmwamim.models import LevelDecoder
from mmwamim.registry import HOOKS

from ..training.runner import TrainingRunner

# What is gathered together before it runs, and freed after. Each is entered through its forward
# method: a Swin block, which SparseSwin takes apart, is not, but its MLP, two thirds of it, is.
UNITS = (TransformerEncoderLayer, LevelDecoder, FFN)


def shard_model(model: nn.Module, mesh, dtype: Optional[torch.dtype] = None) -> int:
    """Shares out the parameters of a model, in place, by torch's ``fully_shard``.

    Layers of a ViT, decoders and MLPs of a Swin are gathered one after another, the rest of the
    encoder with the encoder, and what then remains with the model. Names of parameters do not
    change.

    Precision: parts of parameters, gradients and optimizer state are float32, and so is the
    reduction of gradients. Weights are gathered in ``dtype``, except those of batch norms, whose
    kernels want them in float32. Inputs are not cast: what runs in which precision is
    autocast's affair, so targets and losses stay in float32.

    Args:
        model: A model of any OpenMMLab project on its device.
        mesh: A one-dimensional device mesh of all processes.
        dtype: That of the networks under autocast; None for float32.

    Returns:
        The number of parts that are gathered by themselves.
    """
    parts = 0
    plain, policy = (MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32,
                                          cast_forward_inputs=False) for kind in (None, dtype))

    def walk(module: nn.Module) -> None:
        nonlocal parts
        for child in module.children():
            if isinstance(child, _NormBase) and dtype is not None:
                fully_shard(child, mesh=mesh, mp_policy=plain)
                parts += 1
            elif isinstance(child, UNITS):
                fully_shard(child, mesh=mesh, mp_policy=policy)
                parts += 1
            else:
                walk(child)

    walk(model)
    if isinstance(getattr(model, 'backbone', None), nn.Module):
        fully_shard(model.backbone, mesh=mesh, mp_policy=policy)
        parts += 1
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for name in ('extract_feat', 'predict_targets'):
        if hasattr(model, name):  # entered from outside, like forward
            register_fsdp_forward_method(model, name)
    return parts + 1


def map_tensors(function: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """Applies a function to every tensor of nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)((key, map_tensors(function, below)) for key, below in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(function, below) for below in value)
    return value


def gather(state: Any) -> Any:
    """The whole of a state whose tensors are shared out, on the CPU.

    Every process must call it; only the first one gets the values, the others get None in place
    of each tensor that was shared out.
    """
    def whole(tensor: torch.Tensor) -> Optional[torch.Tensor]:
        if isinstance(tensor, DTensor):  # all take part, one keeps it
            tensor = tensor.full_tensor()
            return tensor.detach().cpu() if is_main_process() else None
        return tensor.detach().cpu()

    return map_tensors(whole, state)


def share_out(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's part of a whole tensor, laid out as a parameter is."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    # Every process has read the whole tensor: none has to send it.
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements,
                             src_data_rank=None)


def share_out_state(optimizer: torch.optim.Optimizer, state: dict) -> dict:
    """A saved state of an optimizer, in its groups, with moments laid out as the parameters are.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    moments = {index: {name: share_out(value, parameters[index]) if torch.is_tensor(value)
                       else value for name, value in saved.items()}
               for index, saved in state['state'].items()}
    return dict(state, state=moments)


class ShardedRunner(TrainingRunner):
    """MMEngine's Runner with fully sharded data parallelism: ``tools/train.py --fsdp``.

    Its checkpoints are those of any other run: whole tensors in one file. So a run can be
    resumed with another number of ranks, or without sharding.
    """

    gathered: dict = {}

    def wrap_model(self, model_wrapper_cfg: Optional[dict], model: nn.Module) -> nn.Module:
        """Initialises the weights, then shards them. ``model_wrapper_cfg``, for DDP, is not used.
        """
        device = get_device()
        self.model = model.to(device)
        super()._init_model_weights()
        bfloat16 = str((self.cfg.get('optim_wrapper') or {}).get('dtype')).endswith('bfloat16')
        parts = shard_model(model, init_device_mesh(device, (self.world_size, )),
                            torch.bfloat16 if bfloat16 else None)
        self.logger.info(f'FSDP: weights, gradients and optimizer state are shared out among '
                         f'{self.world_size} processes, gathered in {parts} parts in '
                         f'{"bfloat16" if bfloat16 else "float32"}, gradients reduced in float32')
        return model

    def _init_model_weights(self) -> None:
        """They were, before they were sharded."""

    def build_optim_wrapper(self, optim_wrapper):
        """As MMEngine's; states that are loaded are shared out."""
        built = super().build_optim_wrapper(optim_wrapper)
        if built is not optim_wrapper:  # after the constructor's own hook, which regroups
            built.optimizer.register_load_state_dict_pre_hook(share_out_state)
        return built

    def save_checkpoint(self, *args, **kwargs) -> None:
        """As MMEngine's, which only the first process enters: all gather before."""
        self.gathered = dict(state_dict=gather(self.model.state_dict()))
        if kwargs.get('save_optimizer', True):
            self.gathered['optimizer'] = gather(self.optim_wrapper.state_dict())
        super().save_checkpoint(*args, **kwargs)
        self.gathered = {}


@HOOKS.register_module()
class ShardingHook(Hook):
    """Puts whole tensors into checkpoints, and shares out those that are read."""

    priority = 'VERY_HIGH'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        for part, whole in runner.gathered.items():
            checkpoint[part].update(whole)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        shards = runner.model.state_dict()
        state = checkpoint['state_dict']
        for name, value in state.items():
            if name in shards:
                state[name] = share_out(value, shards[name])
