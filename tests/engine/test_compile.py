import copy
from functools import partial

import pytest
import torch
from mmpretrain.models import VisionTransformer
from torch._dynamo.testing import CompileCounterWithBackend

from mmwamim.engine import CompileHook
from mmwamim.engine.training.compile import CompiledLoss, compile_model
from mmwamim.models import WaMIM
from mmwamim.models.masking import MaskPlan, draw_mask
from tests.support.models import TINY, build_wamim, level_losses, noise, shake, total_loss
from tests.support.pretended_gpu import PretendedGPU, bfloat16


def build_vit(**fields):
    """Two layers and two levels, one of them coarser than the patches."""
    return build_wamim(levels=(2, 4), head=dict(loss_weights=(1., 2.)),
                       backbone=dict(arch={**TINY, 'num_layers': 2}, out_indices=(0, 1)), **fields)


def build_swin(**fields):
    """Two stages, with plain and shifted blocks and groups of windows."""
    torch.manual_seed(0)
    return WaMIM(
        backbone=dict(type='mmwamim.SparseSwin', img_size=64, window_size=4, out_indices=(0, 1),
                      arch=dict(embed_dims=16, depths=[2, 2], num_heads=[1, 2])),
        neck=dict(type='mmwamim.MultiLevelDecoder', embed_dims=16, num_heads=2),
        head=dict(type='mmwamim.MultiLevelMIMHead', loss_weights=(1., 1.)),
        target_generator=dict(type='mmwamim.WaveletTargetGenerator', levels=(2, 3)),
        shared_mask=True, **fields)


MODELS = dict(vit=build_vit, swin=build_swin, vit_partly=partial(build_vit, decode_ratio=0.25),
              swin_partly=partial(build_swin, decode_ratio=0.25))


def step(model, batch, seed):
    """Losses and gradients of one step."""
    torch.manual_seed(seed)
    results = model.loss(noise(batch, 3, 64, 64, seed=seed))
    model.zero_grad()
    total_loss(results).backward()
    return results, [p.grad.clone() for p in model.parameters() if p.requires_grad]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


@pytest.mark.parametrize('name', ['vit', 'swin', 'vit_partly'])
def test_one_graph_with_the_losses_and_gradients_of_eager(name):
    """The same graph for other masks, after a look at the model in evaluation, in a second epoch;
    a smaller batch is not compiled."""
    eager = shake(MODELS[name](), 0.05)
    compiled, counter = copy.deepcopy(eager), CompileCounterWithBackend('aot_eager')
    names = list(compiled.state_dict())
    assert compile_model(compiled, backend=counter) == 1
    assert list(compiled.state_dict()) == names
    for epoch in range(2):
        for seed, batch in ((1, 3), (2, 3), (3, 2)):
            (expected, theirs), (results, ours) = (step(model, batch, seed + 10 * epoch)
                                                   for model in (eager, compiled))
            torch.testing.assert_close(results, expected, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            assert counter.frame_count == 1
        compiled.eval()
        compiled.predict_targets(noise(3, 3, 64, 64))
        compiled.train()


def test_each_size_of_images_has_a_graph():
    """As sizes grow over the epochs; smaller batches run as they are."""
    eager = shake(build_vit(decode_ratio=0.25), 0.05)
    compiled, counter = copy.deepcopy(eager), CompileCounterWithBackend('eager')
    compile_model(compiled, backend=counter)
    for size, batch, graphs in ((32, 2, 1), (32, 2, 1), (64, 2, 2), (64, 1, 2), (64, 2, 2)):
        found = []
        for model in (eager, compiled):
            torch.manual_seed(size)
            found.append(model.loss(noise(batch, 3, size, size)))
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
        assert counter.frame_count == graphs


def test_by_inductor_while_an_optimizer_moves_the_weights():
    """As users have it; one layer and one level, since this compiles C++."""
    eager = build_wamim(levels=(3, ), head=dict(loss_weights=(1., )),
                        backbone=dict(arch={**TINY, 'num_layers': 1}, out_indices=(0, )))
    compiled = copy.deepcopy(eager)
    compile_model(compiled)
    found = []
    for model in (eager, compiled):
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for seed in (1, 2):
            results, _ = step(model, 2, seed)
            optimizer.step()
        found.append(level_losses(results))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', list(MODELS))
def test_tracing_with_tensors_of_a_gpu(name):
    """One graph without a copy from the CPU or a value that is read back."""
    with PretendedGPU() as gpu:
        model = gpu.build(MODELS[name])
        images = torch.zeros(2, 3, 64, 64, device='cuda')
        plan = model.plan_mask(images)
    assert gpu.counts['uploads'] == 1
    graphs = []

    def backend(graph, inputs):
        def run(*arguments):
            with gpu:
                return graph(*arguments)
        graphs.append(graph)
        return run

    gpu.counts.clear()
    with bfloat16():
        results = torch.compile(model.loss, backend=backend, fullgraph=True, dynamic=False)(
            images, None, plan)
    assert len(graphs) == 1 and gpu.counts['uploads'] == gpu.counts['read-backs'] == 0
    assert all(value.device.type == 'cuda' and value.dtype == torch.float32
               for value in results.values())


def test_replayed_graphs_give_results_that_the_next_replay_leaves_alone():
    model = build_vit()
    compiled = CompiledLoss(model, 'eager', None)
    results, compiled.replays = {'loss_level2': torch.ones(())}, True
    compiled.compiled = lambda *arguments: results
    first = compiled(noise(2, 3, 64, 64))
    results['loss_level2'].zero_()
    assert first['loss_level2'] == 1


def test_other_models_are_compiled_layer_by_layer():
    model, counter = VisionTransformer(arch=TINY, img_size=64), CompileCounterWithBackend('eager')
    shake(model)
    images, mask = noise(2, 3, 64, 64), draw_mask(2, (8, 8), 0.75)
    expected = model(images)
    assert compile_model(model, backend=counter) == TINY['num_layers']
    torch.testing.assert_close(model(images), expected)
    assert counter.frame_count == 1  # layers of one shape share their code
    decoders = build_vit().neck
    features = [noise(2, 17, 32, seed=i) for i in range(2)]
    expected = decoders(features, MaskPlan.from_mask(mask))
    assert compile_model(decoders, backend=counter) == 4  # two, and the block in each
    torch.testing.assert_close(decoders(features, MaskPlan.from_mask(mask)), expected)


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="mode must be one of default, .* not 'fast'"):
        CompileHook('fast')
