import pytest
import torch

from sightline.models import FPN, LightTrunk


def test_maps_keep_their_size_and_share_one_width():
    trunk = LightTrunk()
    channels = {stride: c for stride, c in trunk.feature_channels.items() if stride >= 8}
    maps = trunk.features(torch.randn(2, 3, 72, 104))  # not a multiple of 32
    out = FPN(channels, 24)(maps)
    assert list(out) == [8, 16, 32]
    assert out[8].shape == (2, 24, 9, 13)
    assert out[16].shape == (2, 24, 5, 7)
    assert out[32].shape == (2, 24, 3, 4)


def test_coarse_maps_that_do_not_come_out_give_context_to_finer_ones():
    fpn = FPN({8: 4, 16: 4, 32: 4}, 8, out_strides=[8, 16]).eval()
    maps = {stride: torch.randn(1, 4, 64 // stride, 64 // stride) for stride in (8, 16, 32)}
    before = fpn(maps)
    assert list(before) == [8, 16]
    after = fpn({**maps, 32: maps[32] + 1})
    assert not torch.equal(before[8], after[8])


def test_fine_maps_do_not_reach_coarse_ones():
    fpn = FPN({8: 4, 16: 4}, 8).eval()
    maps = {stride: torch.randn(1, 4, 64 // stride, 64 // stride) for stride in (8, 16)}
    after = fpn({**maps, 8: maps[8] + 1})
    assert torch.equal(fpn(maps)[16], after[16])


def test_every_parameter_gets_a_gradient():
    fpn = FPN({4: 4, 8: 4, 16: 4}, 8, out_strides=[8, 16])
    maps = {stride: torch.randn(1, 4, 32 // stride, 32 // stride) for stride in (4, 8, 16)}
    sum(x.square().sum() for x in fpn(maps).values()).backward()
    assert all(parameter.grad is not None for parameter in fpn.parameters())


def test_unknown_stride_and_mismatched_stages_are_named():
    with pytest.raises(ValueError, match=r"`out_strides` must be among \[8, 16\], got \[4\]"):
        FPN({8: 4, 16: 4}, out_strides=[4, 8])
    with pytest.raises(ValueError, match="one number per stage, got 3 and 2"):
        LightTrunk(widths=(8, 16, 32), blocks=(0, 1))
