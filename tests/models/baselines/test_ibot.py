import math

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmpretrain.models.utils import CosineEMA

from mmwamim.models import IBOT, SelfDistillationHead
from mmwamim.models.baselines.block_masks import draw_block_mask
from mmwamim.models.baselines.ibot import Teacher
from tests.support.models import noise


@pytest.fixture(autouse=True)
def length_of_the_run():
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 100)
    hub.update_info('epoch', 0)
    yield
    hub.runtime_info.pop('max_iters')
    hub.runtime_info.pop('epoch')


def small(drop_path=0., **fields):
    torch.manual_seed(0)
    model = IBOT(
        backbone=dict(type='mmpretrain.MaskFeatViT', img_size=32, patch_size=8,
                      drop_path_rate=drop_path,
                      arch=dict(embed_dims=24, num_layers=2, num_heads=2,
                                feedforward_channels=48)),
        head=dict(type='mmwamim.SelfDistillationHead', in_channels=24, out_channels=12,
                  hidden_channels=16, bottleneck_channels=8), **fields)
    model.init_weights()
    return model.train()


def views(batch=3, local=2):
    return [noise(batch, 3, 32, 32, seed=i) for i in range(2)] + [
        noise(batch, 3, 16, 16, seed=2 + i) for i in range(local)]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize('local', [0, 2])
def test_losses_equal_loops(local):
    """Equations 2 and 3 of the paper image by image, with dropped paths and moved centers."""
    model, batch = small(drop_path=0.5), 3
    model.class_center.normal_()
    model.patch_center.normal_()
    centers = [model.class_center.numpy().copy(), model.patch_center.numpy().copy()]
    inputs = views(batch, local)
    mask = torch.zeros(2 * batch, 16, dtype=torch.bool)
    mask[0, :5] = mask[2, 3:5] = mask[4, ::2] = True  # the other three views are not masked
    model.draw_masks = lambda images: (torch.manual_seed(5), mask)[1]
    torch.manual_seed(5)  # for the same dropped paths
    with torch.no_grad():
        student_g = model.head(model.backbone(torch.cat(inputs[:2]), mask)).numpy()
        student_l = [] if not local else list(model.head(
            model.backbone(torch.cat(inputs[2:]), None)[-1]).numpy().reshape(local, batch, 5, 12))
        model.eval()
        teacher = np.stack([model.head(model.backbone(v, None)[-1]).numpy() for v in inputs[:2]])
        model.train()
    student_g = student_g.reshape(2, batch, 17, 12)
    losses = model.loss(inputs)

    pairs, patches = [], []
    for t in range(2):
        for s, scores in enumerate([*student_g, *student_l]):
            for image in range(batch):
                if s != t:
                    p = softmax((teacher[t][image, 0] - centers[0]) / 0.04)
                    pairs.append(-(p * np.log(softmax(scores[image, 0] / 0.1))).sum())
                    continue
                terms = [-(softmax((teacher[t][image, 1 + n] - centers[1]) / 0.04) * np.log(
                    softmax(scores[image, 1 + n] / 0.1))).sum()
                    for n in range(16) if mask[t * batch + image, n]]
                patches.append(np.mean(terms) if terms else 0.)
    assert len(patches) == 2 * batch
    np.testing.assert_allclose(losses['loss_class'].item(), np.mean(pairs), rtol=1e-4)
    np.testing.assert_allclose(losses['loss_patch'].item(), np.mean(patches), rtol=1e-4)

    for center, before, tokens in ((model.class_center, centers[0], teacher[:, :, 0]),
                                   (model.patch_center, centers[1], teacher[:, :, 1:])):
        mean = tokens.reshape(-1, 12).mean(0)
        np.testing.assert_allclose(center, 0.9 * before + 0.1 * mean, atol=1e-5)


def test_the_teacher_drops_nothing():
    model, images = small(drop_path=0.9), noise(4, 3, 32, 32)
    assert model.backbone.pools_token  # as probes of a run read it
    backbone = model.teacher.module[0]
    with torch.no_grad():
        assert torch.equal(backbone(images, None)[-1], backbone(images, None)[-1])
        assert not torch.equal(model.backbone(images, None)[-1], model.backbone(images, None)[-1])
    assert model.training and not any(part.training for part in model.teacher.modules())
    assert not any(part.training for part in small().eval().train().teacher.modules())


@pytest.mark.parametrize('epoch, moves', [(0, False), (1, True)])
def test_prototypes_are_frozen_for_one_epoch(epoch, moves):
    model = small()
    MessageHub.get_current_instance().update_info('epoch', epoch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    before = model.head.prototypes.detach().clone()
    layer = model.head.layers[-1].weight.detach().clone()
    sum(model.loss(views()).values()).backward()
    optimizer.step()
    assert torch.equal(model.head.prototypes, before) != moves
    assert not torch.equal(model.head.layers[-1].weight, layer)


def test_scores_are_float32_under_autocast():
    model = small()
    tokens = noise(5, 24)
    with torch.autocast('cpu', torch.bfloat16):
        embedded = model.head.embed(tokens)
        scores = model.head(tokens)
    exact = embedded.double() @ torch.nn.functional.normalize(
        model.head.prototypes.double(), dim=-1).T
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), exact, rtol=0, atol=1e-6)


def test_masks_have_their_ratio_and_share():
    model = small(mask_ratio=(0.25, 0.5), masked_views=0.5, mask_shape='random')
    torch.manual_seed(0)
    counts = model.draw_masks(torch.zeros(400, 3, 32, 32)).sum(1)
    masked = counts[counts > 0]
    assert 150 < len(masked) < 250
    assert masked.min() >= 4 and masked.max() <= 8


def loop_blocks(rows, cols, wanted):
    """BEiT's Algorithm 1 as iBOT has it, a patch at a time."""
    masked, least = set(), (min(rows, cols) // 3)**2
    failures = 0
    while len(masked) < wanted and failures < 10:
        a, b, c, d = torch.rand(4).tolist()
        area = least * (1 - a) + (wanted - len(masked)) * a
        ratio = 0.3**(1 - b) * (1 / 0.3)**b
        height, width = round((area * ratio)**0.5), round((area / ratio)**0.5)
        new = set()
        if height < rows and width < cols:
            top, left = int(c * (rows - height + 1)), int(d * (cols - width + 1))
            new = {(top + i, left + j) for i in range(height) for j in range(width)} - masked
        fits = 0 < len(new) <= wanted - len(masked)
        failures = 0 if fits else failures + 1
        masked |= new if fits else set()
    return masked


def test_block_masks_equal_a_loop():
    torch.manual_seed(0)
    draws = [(14, 14, share * 196) for share in torch.rand(60).mul(0.5).tolist()] + [
        (14, 9, 40.5), (6, 6, 17.), (14, 14, 0.)]
    counts = []
    for rows, cols, wanted in draws:
        seed = torch.randint(2**31, (1, )).item()
        torch.manual_seed(seed)
        mask = draw_block_mask((rows, cols), wanted)
        torch.manual_seed(seed)
        assert {tuple(place) for place in mask.nonzero().tolist()} == loop_blocks(
            rows, cols, wanted)
        assert mask.sum() <= wanted
        counts.append(mask.sum().item() / max(wanted, 1))
    assert np.mean(counts[:60]) > 0.85  # most of what is wanted is masked
    # Blocks hang together: a masked patch has more masked neighbours than among random ones.
    mask = draw_block_mask((14, 14), 60).float()
    alike = (mask[1:] * mask[:-1]).sum() / mask.sum()
    assert alike > 0.6


def test_views_are_masked_by_blocks_of_their_share():
    model = small(masked_views=0.5)
    torch.manual_seed(0)
    model.backbone.patch_resolution = (14, 14)
    counts = model.draw_masks(torch.zeros(100, 3, 224, 224)).sum(1)
    masked = counts[counts > 0]
    assert 30 < len(masked) < 70 and masked.max() <= 98
    assert 0.2 < masked.float().mean() / 196 < 0.32  # shares from 0.1 to 0.5


def test_no_masked_view_has_no_patch_loss():
    model = small(masked_views=0.)
    losses = model.loss(views())
    assert losses['loss_patch'] == 0 and losses['loss_class'] > 0
    sum(losses.values()).backward()


def test_the_teacher_is_mmpretrains_average_also_after_a_checkpoint_was_loaded():
    torch.manual_seed(0)
    student = torch.nn.Linear(3, 2)
    ours, theirs = Teacher(student, momentum=0.1), CosineEMA(student, momentum=0.1)
    for step in range(5):
        with torch.no_grad():
            student.weight += noise(2, 3, seed=step)
        ours.update_parameters(student)
        theirs.update_parameters(student)
        assert torch.equal(ours.module.weight, theirs.module.weight)
        assert ours.steps == theirs.steps == step + 1
        if step == 2:
            state = ours.state_dict()
            ours = Teacher(student, momentum=0.1)
            ours.load_state_dict(state)


def test_gradients_reach_the_student_alone_and_the_teacher_follows():
    model = small(momentum=0.1, frozen_epochs=0)
    model.loss(views())  # the first update copies
    before = [p.clone() for p in model.teacher.module.parameters()]
    with torch.no_grad():
        for parameter in [*model.backbone.parameters(), *model.head.parameters()]:
            parameter.add_(1.)
    sum(model.loss(views()).values()).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    assert all(p.grad is not None for n, p in model.named_parameters()
               if n.startswith(('backbone', 'head')))
    share = 0.1 * (math.cos(math.pi / 100) + 1) / 2  # of the cosine at step 1 of 100
    for old, new in zip(before, model.teacher.module.parameters(), strict=True):
        torch.testing.assert_close(new, old + share, rtol=1e-3, atol=1e-4)


def test_the_teachers_temperature_rises():
    model = small(teacher_temperature=(0.04, 0.08), warmup_epochs=4)
    for epoch, wanted in zip((*range(4), 9), (*np.linspace(0.04, 0.08, 4), 0.08), strict=True):
        MessageHub.get_current_instance().update_info('epoch', epoch)
        assert model._temperature() == pytest.approx(wanted)


def test_scores_are_cosines():
    head = SelfDistillationHead(24, 12, 16, 8)
    scores = head(noise(5, 24))
    assert scores.shape == (5, 12) and scores.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(3)
    torch.testing.assert_close(head(noise(5, 24)), scores)


@pytest.mark.parametrize('fields, message', [
    (dict(mask_ratio=(0.5, 0.1)), 'mask_ratio'), (dict(masked_views=2), 'masked_views'),
    (dict(momentum=-1), 'momentum'), (dict(mask_shape='rand'), 'mask_shape must be one of block')])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match='two views'):
        small().loss([noise(2, 3, 32, 32)])
    with pytest.raises(ValueError, match='two views'):
        small().loss(noise(2, 3, 32, 32))
