"""Sampling of pictures under a map: hand-worked cases, the reference, and what torch asks."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline import _numpy, ops, reference

from .isa import output_of_every_level
from .same import assert_same, tensors

NORMAL = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
IDENTITY = np.eye(3)


def photo(height, width, channels=3, seed=0):
    """Waves of several lengths, and noise."""
    y, x = np.mgrid[:height, :width, :1][:2]
    waves = np.sin(x / 9 + y / 17) * np.cos(y / 31 + np.arange(channels))
    noise = np.random.default_rng(seed).normal(0, 9, waves.shape)
    return np.clip(128 + 100 * waves + noise, 0, 255).astype(np.uint8)


def similarity(degrees, scale, center):
    """Turns and scales about a point."""
    angle = np.deg2rad(degrees)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    x, y = center
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])


def translation(x, y):
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def scaling(x, y):
    return np.diag([x, y, 1.0])


def warp_all_ways(images, matrices, size, **rules):
    """The result of arrays, asserted to be that of tensors and of the reference."""
    expected = reference.warp(images, matrices, size, **rules)
    assert_same(ops.warp(images, matrices, size, **rules), expected)
    on_tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in rules.items()
    }
    assert_same(ops.warp(*tensors(images, matrices), size, **on_tensors), expected)
    return expected


def test_a_bilinear_sample_worked_by_hand():
    picture = np.array([[[0], [100]], [[200], [40]]], np.uint8)
    # Read at (0.75, 1.0): a quarter of the way between columns, half of it between rows.
    assert warp_all_ways(picture, translation(-0.25, -0.5), (1, 1)).tolist() == [[[93]]]  # 92.5
    found = warp_all_ways(picture, translation(-0.25, -0.5), (1, 1), mean=0, std=1)
    assert found.tolist() == [[[np.float32(92.5) * np.float32(1 / 255)]]]


def test_the_identity_flips_quarter_turns_and_whole_translations_move_bytes_unchanged():
    for height, width in ((1, 1), (2, 3), (63, 65), (64, 100)):
        picture = photo(height, width)
        for matrix, expected in (
            (IDENTITY, picture),
            (np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]), picture[:, ::-1]),
            (np.array([[1.0, 0, 0], [0, -1, height], [0, 0, 1]]), picture[::-1]),
            (np.array([[0.0, 1, 0], [-1, 0, width], [0, 0, 1]]), np.rot90(picture)),
        ):
            for rules in ({}, {"interpolation": "nearest"}, {"antialias": False}):
                size = expected.shape[:2]
                assert_same(warp_all_ways(picture, matrix, size, **rules), expected.copy())
    moved = warp_all_ways(picture, translation(-3, 5), (64, 100), fill=(1, 2, 3))
    assert (moved[5:, :97] == picture[:59, 3:]).all()
    assert (moved[:5] == (1, 2, 3)).all() and (moved[:, 97:] == (1, 2, 3)).all()


def test_doubling_repeats_no_fill_at_the_border():
    picture = np.array([[[0], [100]]], np.uint8)
    found = warp_all_ways(picture, scaling(2, 2), (2, 4), fill=255)
    assert found[..., 0].tolist() == [[0, 25, 75, 100]] * 2


def test_halving_averages_over_the_footprint_and_not_without_antialias():
    stripes = np.zeros((8, 8, 1), np.uint8)
    stripes[:, ::4] = 240
    found = warp_all_ways(stripes, scaling(0.25, 0.25), (2, 2))
    assert found[..., 0].tolist() == [[60, 60]] * 2
    found = warp_all_ways(stripes, scaling(0.25, 0.25), (2, 2), antialias=False)
    assert found[..., 0].tolist() == [[0, 0]] * 2


@pytest.fixture(scope="module")
def photograph():
    """A temple with fine tiles, of 640 x 427 pixels, which comes with scikit-learn."""
    found = importlib.util.find_spec("sklearn")
    if found is None:
        pytest.skip("no scikit-learn, whose photograph this measures with")
    path = Path(*found.submodule_search_locations) / "datasets" / "images" / "china.jpg"
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# Pillow's "bilinear" weighs twice the footprint by a triangle; ours is nearer to the mean over it.
# Without antialias: 29.9 and 25.9 dB.
@pytest.mark.parametrize(("scale", "decibels"), [(0.5, 33.5), (0.37, 37.0)])
def test_shrinking_a_photograph_is_close_to_pillows_antialiased_resize(photograph, scale, decibels):
    height, width = (round(side * scale) for side in photograph.shape[:2])
    wanted = Image.fromarray(photograph).resize((width, height), Image.Resampling.BILINEAR)
    matrix = scaling(width / photograph.shape[1], height / photograph.shape[0])

    def peak_signal_to_noise(**rules):
        found = ops.warp(photograph, matrix, (height, width), **rules)
        squares = (found.astype(float) - np.asarray(wanted, float)) ** 2
        return 10 * np.log10(255**2 / squares.mean())

    assert peak_signal_to_noise() > decibels
    assert peak_signal_to_noise() > peak_signal_to_noise(antialias=False) + 3


def test_a_pixel_across_the_border_mixes_picture_and_fill():
    picture = np.full((4, 4, 1), 200, np.uint8)
    found = warp_all_ways(picture, scaling(0.5, 0.5) @ translation(1, 0), (1, 3), fill=100)
    assert found[..., 0].tolist() == [[150, 200, 150]]
    twice = np.array([[2, 0]], np.float32)  # doubles the picture, which is clipped, not the fill
    found = warp_all_ways(
        picture, scaling(0.5, 0.5) @ translation(1, 0), (1, 3), fill=100, colors=twice
    )
    assert found[..., 0].tolist() == [[178, 255, 178]]  # (100 + 255) / 2 = 177.5


def test_colors_mix_channels_before_the_normalization_and_leave_the_fill():
    picture = np.array([[[10, 20, 30]]], np.uint8)
    colors = np.array([[0, 1, 0, 5], [0, 0, 9, 0], [-1, 0, 0, 0]], np.float32)
    assert warp_all_ways(picture, IDENTITY, (1, 1), colors=colors).tolist() == [[[25, 255, 0]]]
    mean = [0.5, 0.25, 0.125]
    found = warp_all_ways(
        picture, IDENTITY, (1, 2), colors=colors, fill=127.5, mean=mean, std=(0.5, 1, 2)
    )
    expected = (np.array([[25, 255, 0], [127.5] * 3]) / 255 - mean) / (0.5, 1, 2)
    np.testing.assert_allclose(found[:, 0].T, expected, atol=1e-6)
    colors[:] = np.nan
    assert (warp_all_ways(picture, IDENTITY, (1, 1), colors=colors) == 0).all()


def test_displacements_are_in_pixels_of_the_output_and_bilinear_from_border_to_border():
    picture = np.arange(64, dtype=np.uint8).reshape(1, 64, 1)
    grid = np.zeros((1, 2, 2), np.float32)
    grid[0, :, 0] = (0, 16)  # at x = 0 and at x = 16: 1 pixel per pixel
    found = warp_all_ways(picture, translation(-8, 0), (1, 16), displacements=grid)
    assert found[0, :, 0].tolist() == [round(8 + 2 * i + 0.5 + 0.01) for i in range(16)]
    grid[..., 0] = 3
    found = warp_all_ways(picture, scaling(0.5, 1), (1, 32), displacements=grid[:, :1])
    assert found[0, :28, 0].tolist() == [2 * i + 7 for i in range(28)]  # 6 pixels of the input


def test_nothing_is_seen_beyond_the_horizon_or_where_the_point_is_not_a_number():
    picture = np.full((9, 9, 1), 200, np.uint8)
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [0, -0.2, 1]])  # w <= 0 from y = 5 on
    seen = warp_all_ways(picture, np.linalg.inv(horizon), (9, 9), fill=7)
    assert (seen[5:] == 7).all() and (seen[:3, 0] == 200).all()
    for bad in (np.nan, np.inf, -np.inf, 3e38):
        grid = np.zeros((3, 3, 2), np.float32)
        grid[0, 0, 1] = bad
        found = warp_all_ways(picture, IDENTITY, (9, 9), displacements=grid, fill=7)
        assert (found[:4, :4] == 7).all() and (found[5:, 5:] == 200).all()
    for far in (1e9, 1e18, 1e150):
        assert (warp_all_ways(picture, translation(far, 0), (9, 9), fill=7) == 7).all()
        found = warp_all_ways(picture, scaling(1 / far, 1 / far), (2, 2), fill=7)
        assert (found == 7).all()
        found = warp_all_ways(picture, scaling(far, far), (9, 9), fill=7)
        assert (found == 200).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_warp_equals_the_reference(channels):
    rng = np.random.default_rng(channels)
    sizes = (0, 1, 2, 63, 64, 65, 1000)
    for case, (height, width) in enumerate(zip(rng.permutation(sizes), sizes)):
        picture = photo(height, width, channels)
        size = (int(rng.integers(1, 70)), sizes[case])
        matrix = similarity(rng.uniform(-60, 60), rng.uniform(0.2, 1.5), (width / 2, height / 2))
        tilted = matrix.copy()
        tilted[2, :2] = rng.uniform(-0.004, 0.004, 2)
        grid = rng.normal(0, 3, (4, 5, 2)).astype(np.float32)
        colors = np.eye(channels, channels + 1) + rng.normal(0, 0.3, (channels, channels + 1))
        colored = {"colors": colors.astype(np.float32), "fill": list(rng.uniform(0, 255, channels))}
        warp_all_ways(picture, matrix, size)
        warp_all_ways(picture, tilted, size, displacements=grid, fill=9)
        warp_all_ways(picture, tilted, size, interpolation="nearest", displacements=grid[:1])
        warp_all_ways(picture, matrix, size, antialias=False, mean=0.4, std=0.2, **colored)
        warp_all_ways(picture, tilted, size, mean=0.4, std=0.2, displacements=grid, **colored)


def test_a_batch_is_each_image_alone_and_shares_what_comes_once():
    rng = np.random.default_rng(0)
    pictures = np.stack([photo(20, 30, seed=seed) for seed in range(3)])
    matrices = np.stack([similarity(k * 20, 0.5 + k / 2, (15, 10)) for k in range(3)])
    grids = rng.normal(0, 2, (3, 3, 4, 2)).astype(np.float32)
    colors = rng.normal(0, 1, (3, 3, 4)).astype(np.float32)
    own = warp_all_ways(pictures, matrices, (21, 18), displacements=grids, colors=colors, **NORMAL)
    shared = warp_all_ways(
        pictures, matrices[1], (21, 18), displacements=grids[1], colors=colors[:1]
    )
    for k in range(3):
        alone = {"displacements": grids[k], "colors": colors[k], **NORMAL}
        assert_same(ops.warp(pictures[k], matrices[k], (21, 18), **alone), own[k])
        alone = {"displacements": grids[1], "colors": colors[0]}
        assert_same(ops.warp(pictures[k], matrices[1], (21, 18), **alone), shared[k])
    assert ops.warp(pictures[:0], matrices[:0], (5, 6)).shape == (0, 5, 6, 3)
    assert ops.warp(pictures, matrices, (0, 6), **NORMAL).shape == (3, 3, 0, 6)


def test_any_layout_and_any_dtype_of_numbers():
    picture, matrix = photo(20, 30), similarity(20, 0.7, (15, 10))
    grid = np.random.default_rng(0).normal(0, 2, (3, 4, 2))
    expected = reference.warp(picture, matrix, (9, 8), displacements=grid.astype(np.float32))
    strided = np.zeros((20, 60, 6), np.uint8)[:, ::2, ::2]
    strided[:] = picture
    mirrored = picture[::-1].copy()[::-1]
    for layout in (strided, mirrored, np.asfortranarray(picture)):
        found = ops.warp(layout, np.asfortranarray(matrix), (9, 8), displacements=grid)
        assert_same(found, expected)
    planar = torch.from_numpy(picture.transpose(2, 0, 1).copy()).permute(1, 2, 0)
    found = ops.warp(planar, torch.from_numpy(matrix), (9, 8), displacements=torch.from_numpy(grid))
    assert_same(found, expected)
    assert_same(ops.warp(picture, np.eye(3, dtype=np.int32), (20, 30)), picture)


def test_a_picture_of_more_than_2_to_the_31_bytes_is_read_at_its_end():
    picture = np.zeros((47_000, 47_000, 1), np.uint8)  # memory that is never touched, but a page
    picture[-1, -1] = 200
    found = ops.warp(picture, translation(-46_998, -46_998), (2, 2))
    assert found[..., 0].tolist() == [[0, 0], [0, 200]]


BITS = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
pictures = {c: rng.integers(0, 256, (2, 90, 131, c), dtype=np.uint8) for c in (1, 3, 4)}
matrices = np.array([[[0.6, -0.3, 40], [0.3, 0.7, 2], [0, 0, 1]],
                     [[1.5, 0.2, -9], [-0.1, 1.2, 5], [1e-3, -2e-3, 1]]])
grid = rng.normal(0, 4, (5, 6, 2)).astype(np.float32)
for threads in (1, 2):
    _numpy.set_num_threads(threads)
    torch.set_num_threads(threads)
    digest = hashlib.md5()
    for c, images in pictures.items():
        colors = np.eye(c, c + 1, dtype=np.float32) * np.float32(1.3) - 2
        normal = {"mean": 0.4, "std": 0.2}
        for rules in ({}, {"interpolation": "nearest"}, {"antialias": False}, normal,
                      {"displacements": grid, "fill": 77}, {"colors": colors, **normal}):
            found = ops.warp(images, matrices, (77, 203), **rules)
            digest.update(found.tobytes())
            on_tensors = {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v
                          for name, v in rules.items()}
            again = ops.warp(torch.from_numpy(images), torch.from_numpy(matrices), (77, 203),
                             **on_tensors)
            assert (again.numpy() == found).all()
    print(digest.hexdigest())
"""


def test_every_instruction_set_and_thread_count_gives_the_same():
    lines = output_of_every_level(BITS).splitlines()
    assert lines[0] == lines[1]


def test_wrong_arguments_are_named():
    picture = photo(4, 5)
    with pytest.raises(ValueError, match=r"`matrices` must have an inverse .* got \[\[0.0, 0.0"):
        ops.warp(picture, np.zeros((3, 3)), (4, 5))
    with pytest.raises(ValueError, match=r"must have an inverse of finite numbers.* for image 1"):
        ops.warp(*tensors(np.stack([picture] * 2), np.stack([IDENTITY, IDENTITY * np.nan])), (4, 5))
    with pytest.raises(ValueError, match=r"`matrices` must have shape \[3, 3\], got \[2, 3\]"):
        ops.warp(picture, IDENTITY[:2], (4, 5))
    with pytest.raises(ValueError, match=r"\[3, 3\] or \[1, 3, 3\], got \[2, 3, 3\]"):
        ops.warp(picture[None], np.stack([IDENTITY] * 2), (4, 5))
    with pytest.raises(ValueError, match=r"`images` must have shape .* channels last.*\[3, 4, 5\]"):
        ops.warp(picture.transpose(2, 0, 1).copy(), IDENTITY, (4, 5))
    with pytest.raises(TypeError, match=r"`images` must hold uint8, got dtype float64"):
        ops.warp(picture.astype(float), IDENTITY, (4, 5))
    with pytest.raises(ValueError, match=r"`fill` must lie in \[0, 255\], got \[256.0"):
        ops.warp(picture, IDENTITY, (4, 5), fill=256)
    with pytest.raises(ValueError, match=r"`fill` must be one number or one for each of 3 chan"):
        ops.warp(picture, IDENTITY, (4, 5), fill=(1, 2))
    with pytest.raises(ValueError, match=r"`std` must be above 0 and finite, got \[0.0"):
        ops.warp(picture, IDENTITY, (4, 5), mean=0, std=0)
    with pytest.raises(TypeError, match=r"`std` must be a number, got None"):
        ops.warp(picture, IDENTITY, (4, 5), mean=0)
    with pytest.raises(ValueError, match=r"`interpolation` must be one of .* got 'cubic'"):
        ops.warp(picture, IDENTITY, (4, 5), interpolation="cubic")
    with pytest.raises(ValueError, match=r"`displacements` must have shape \[h, w, 2\], got \[0"):
        ops.warp(picture, IDENTITY, (4, 5), displacements=np.zeros((0, 2, 2), np.float32))
    with pytest.raises(ValueError, match=r"`colors` must have shape \[3, 4\], got \[3, 3\]"):
        ops.warp(picture, IDENTITY, (4, 5), colors=np.eye(3))
    with pytest.raises(ValueError, match=r"the sides of `size` must be at most 4194304"):
        ops.warp(picture, IDENTITY, (1, 2**23))
    with pytest.raises(ValueError, match="channels"):
        _numpy.warp(picture[None, ..., :2].copy(), IDENTITY[None], 1, 1, None, None, [0.0] * 2,
                    [], [], False, True)  # fmt: skip
    with pytest.raises(RuntimeError, match="one per image"):
        torch.ops.sightline.warp(*tensors(picture[None], np.stack([IDENTITY] * 2)), 1, 1, None,
                                 None, [0.0] * 3, [], [], False, True)  # fmt: skip


def test_opcheck_and_compile():
    picture, matrix = tensors(photo(12, 14)[None], similarity(20, 0.7, (7, 6))[None])
    grid, colors = torch.randn(1, 3, 4, 2), torch.randn(1, 3, 4)
    for scale in ([], [0.5] * 3):
        arguments = (picture, matrix, 9, 10, grid, colors, [1.0] * 3, scale, scale, False, True)
        torch.library.opcheck(torch.ops.sightline.warp, arguments)

    class Warp(torch.nn.Module):
        def forward(self, images, matrices, colors):
            return ops.warp(images, matrices, (9, 10), colors=colors, fill=3, **NORMAL)

    inputs = (picture, matrix.requires_grad_(), colors)
    found = Warp()(*inputs)
    assert not found.requires_grad
    compiled = torch.compile(Warp(), fullgraph=True, backend="aot_eager")
    assert_same(compiled(*inputs), found.numpy())
    assert_same(torch.export.export(Warp(), inputs).module()(*inputs), found.numpy())
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(Warp()(*inputs), found.numpy())
    singular = compiled(picture, torch.zeros(1, 3, 3, dtype=torch.float64), colors)
    assert_same(singular[:, :, :1, :1].expand(1, 3, 9, 10), singular.numpy())


def test_cuda_gives_the_bits_of_the_cpu(cuda):
    pictures = torch.stack([torch.from_numpy(photo(90, 131, seed=seed)) for seed in range(3)])
    matrices = torch.from_numpy(np.stack([similarity(k * 20, 0.4 + k, (60, 40)) for k in range(3)]))
    matrices[2, 2, 0] = 1e-3
    grid, colors = torch.randn(4, 5, 2), torch.randn(3, 4)
    for rules in ({}, NORMAL, {"interpolation": "nearest"}, {"antialias": False, "fill": 9}):
        for moves, factors in ((None, None), (grid, colors)):
            expected = ops.warp(
                pictures, matrices, (77, 203), displacements=moves, colors=factors, **rules
            )
            given = [None if t is None else t.to(cuda) for t in (moves, factors)]
            for maps in (matrices, matrices.to(cuda)):
                found = ops.warp(
                    pictures.to(cuda), maps, (77, 203), displacements=given[0], colors=given[1],
                    **rules,
                )  # fmt: skip
                assert_same(found, expected.numpy())
