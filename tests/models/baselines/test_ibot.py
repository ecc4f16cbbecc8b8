import math

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmwamim.models import IBOT, SelfDistillationHead
from tests.helpers import noise


@pytest.fixture(autouse=True)
def length_of_the_run():
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 100)
    hub.update_info('epoch', 0)
    yield
    hub.runtime_info.pop('max_iters')
    hub.runtime_info.pop('epoch')


def small(**fields):
    torch.manual_seed(0)
    model = IBOT(
        backbone=dict(type='mmpretrain.MaskFeatViT', img_size=32, patch_size=8,
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
    model, batch = small(), 3
    model.class_center.normal_()
    model.patch_center.normal_()
    centers = [model.class_center.numpy().copy(), model.patch_center.numpy().copy()]
    inputs = views(batch, local)
    mask = model.draw_masks(torch.cat(inputs[:2]))
    model.draw_masks = lambda images: mask
    with torch.no_grad():
        student_g = [model.head(model.backbone(v, m)).numpy() for v, m in zip(
            inputs[:2], mask.split(batch))]
        student_l = [model.head(model.backbone(v, None)[-1]).numpy() for v in inputs[2:]]
        teacher = [model.head(model.backbone(v, None)[-1]).numpy() for v in inputs[:2]]
    losses = model.loss(inputs)

    pairs = []
    for t in range(2):
        for s, scores in enumerate(student_g + student_l):
            if s == t:
                continue
            for image in range(batch):
                p = softmax((teacher[t][image, 0] - centers[0]) / 0.04)
                q = softmax(scores[image, 0] / 0.1)
                pairs.append(-(p * np.log(q)).sum())
    np.testing.assert_allclose(losses['loss_class'].item(), np.mean(pairs), rtol=1e-4)

    masked_views = []
    for t in range(2):
        for image in range(batch):
            terms = [-(softmax((teacher[t][image, 1 + n] - centers[1]) / 0.04) * np.log(
                softmax(student_g[t][image, 1 + n] / 0.1))).sum()
                for n in range(16) if mask[t * batch + image, n]]
            if terms:
                masked_views.append(np.mean(terms))
    np.testing.assert_allclose(losses['loss_patch'].item(), np.mean(masked_views), rtol=1e-4)

    mean = np.concatenate([t[:, 0] for t in teacher]).mean(0)
    np.testing.assert_allclose(model.class_center, 0.9 * centers[0] + 0.1 * mean, atol=1e-5)


def test_masks_have_their_ratio_and_share():
    model = small(mask_ratio=(0.25, 0.5), masked_views=0.5)
    torch.manual_seed(0)
    counts = model.draw_masks(torch.zeros(400, 3, 32, 32)).sum(1)
    masked = counts[counts > 0]
    assert 150 < len(masked) < 250
    assert masked.min() >= 4 and masked.max() <= 8
    nothing = small(masked_views=0.).draw_masks(torch.zeros(8, 3, 32, 32)).sum(1)
    assert nothing[0] > 0 and (nothing[1:] == 0).all()


def test_gradients_reach_the_student_alone_and_the_teacher_follows():
    model = small(momentum=0.1)
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
    for epoch, wanted in ((0, 0.04), (2, 0.06), (4, 0.08), (9, 0.08)):
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
    (dict(momentum=-1), 'momentum')])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match='two views'):
        small().loss([noise(2, 3, 32, 32)])
    with pytest.raises(ValueError, match='two views'):
        small().loss(noise(2, 3, 32, 32))
