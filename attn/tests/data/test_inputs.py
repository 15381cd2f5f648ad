"""Inputs: the resize, the normalisation, the noise, the augmentation."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from attn.config.schema import Noise
from attn.data.augment import crop_and_flip
from attn.data.inputs import MEAN, SD, Inputs
from attn.data.resize import resize
from attn.draws import Draws, uniform
from attn.tests.conftest import needs_cifar10
from attn.tests.data.archives import pictures


def check_resize(images):
    for size in (112, 96, 33, 20):
        originals = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        pillow = [np.asarray(image.resize((size, size), Image.BILINEAR)) for image in originals]
        assert np.array_equal(resize(images, size).permute(0, 2, 3, 1).numpy(), np.stack(pillow))
    assert resize(images, 32) is images


def test_resize_is_pillows():
    check_resize(torch.from_numpy(pictures().transpose(0, 3, 1, 2).copy()))


@needs_cifar10
def test_resize_is_pillows_on_real_images(real):
    check_resize(real.images["test"][::50])


def inputs(count=8, channels=3, size=16, kind="uniform", drawn_at=None, augment="none"):
    images = torch.from_numpy(pictures()[:count].transpose(0, 3, 1, 2).copy())
    extra = Noise(channels, kind, drawn_at)
    cpu, plain = torch.device("cpu"), torch.contiguous_format
    return Inputs(images, torch.arange(count), size, extra, cpu, plain, augment)


def test_noise_is_new_in_training_and_fixed_in_testing():
    data, samples, draws = inputs(), torch.tensor([5, 2]), Draws(1)
    draws.at(0, samples)
    x, labels = data(samples, draws)
    assert x.shape == (2, 6, 16, 16) and labels.tolist() == [5, 2]
    draws.at(1, samples)
    later, _ = data(samples, draws)
    assert later[:, :3].equal(x[:, :3])
    assert (later[:, 3:] == x[:, 3:]).float().mean() < 0.01
    test, _ = data(samples)
    again, _ = data(torch.tensor([2]))
    assert test[1].equal(again[0])
    assert (test[:, 3:] == x[:, 3:]).float().mean() < 0.01


def test_every_channel_is_normalised_by_its_mean_and_sd():
    x, _ = inputs(40, size=32)(torch.arange(40))
    noise = x[:, 3:].transpose(0, 1).flatten(1)  # (channels, all its pixels)
    assert noise.mean(1).abs().max() < 0.02 and (noise.std(1) - 1).abs().max() < 0.02
    red = torch.from_numpy(pictures()[0, :, :, 0].astype(np.float32)) / 255
    torch.testing.assert_close(x[0, 0], (red - MEAN[0]) / SD[0])


def test_rgb_is_the_same_with_and_without_noise():
    samples = torch.arange(4)
    assert inputs(channels=3)(samples)[0][:, :3].equal(inputs(channels=0)(samples)[0])


def test_pictures_show_the_channels_as_they_look():
    shown = inputs(channels=2, size=32).pictures(3)
    assert shown.shape == (5, 32, 32) and shown.dtype == torch.uint8
    assert np.array_equal(shown[:3].numpy(), pictures()[3].transpose(2, 0, 1))
    assert 100 < shown[3:].float().mean() < 155


def test_gaussian_noise_is_normal():
    x, _ = inputs(40, size=32, kind="gaussian")(torch.arange(40))
    assert stats.kstest(x[:, 3:].double().numpy().ravel(), "norm").pvalue > 1e-3


def test_noise_of_another_size_is_made_of_blocks():
    x, _ = inputs(4, size=16, drawn_at=4)(torch.arange(4))
    blocks = x[:, 3:].unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert blocks.eq(blocks[..., :1]).all() and x[:, 3:].unique().numel() > 100


def test_noise_can_be_other_images():
    data, samples = inputs(8, 4, size=32, kind="image"), torch.arange(8)
    x, _ = data(samples)
    rgb = [row.tobytes() for row in x[:, :3].numpy()]
    others = [rgb.index(row.tobytes()) for row in x[:, 3:6].numpy()]
    assert all(other != own for own, other in enumerate(others)) and len(set(others)) > 2
    reds = {row.tobytes() for row in x[:, 0].numpy()}
    assert all(row.tobytes() in reds for row in x[:, 6].numpy())
    shown = data.pictures(2)
    assert np.array_equal(shown[3:6].numpy(), data.images[others[2]].numpy())
    own = data.of(data.images[:1])  # of a single image, beside which are the data's
    assert own[0, :3].equal(x[0, :3]) and own[0, 3:6].numpy().tobytes() in rgb[1:]


def test_noise_can_be_the_images_own_colours_under_noise():
    data = inputs(40, 4, size=32, kind="copy")
    x, _ = data(torch.arange(40))
    for channel, colour in enumerate((0, 1, 2, 0), 3):
        rest = x[:, channel] * 2**0.5 - x[:, colour]  # what was added to the colour
        assert stats.kstest(rest.double().numpy().ravel(), "norm").pvalue > 1e-3
    assert not torch.allclose(x[:, 3] * 2**0.5 - x[:, 0], x[:, 6] * 2**0.5 - x[:, 0])
    draws, samples = Draws(1), torch.arange(40)
    augmented = inputs(40, 3, size=32, kind="copy", augment="crop_flip")
    draws.at(0, samples)
    x, _ = augmented(samples, draws)
    for colour in range(3):  # of the crop that the network sees
        rest = x[:, 3 + colour] * 2**0.5 - x[:, colour]
        assert abs(rest.mean()) < 0.03 and abs(rest.std() - 1) < 0.03


def test_crops_and_flips_are_shifted_copies_of_the_image():
    """Every augmented image is found by brute force among all crops of the padded one."""
    data, samples, draws = inputs(8, 0, 32, augment="crop_flip"), torch.arange(8), Draws(3)
    found = set()
    for epoch in range(4):
        draws.at(epoch, samples)
        augmented, _ = data(samples, draws)
        for sample in range(8):
            padded = torch.zeros(3, 40, 40, dtype=torch.uint8)
            padded[:, 4:36, 4:36] = data.images[sample]
            crops = {
                (dy, dx, flip): data._standardise(
                    (padded.flip(2) if flip else padded)[:, dy : dy + 32, dx : dx + 32]
                )
                for dy in range(9)
                for dx in range(9)
                for flip in (False, True)
            }
            (match,) = [key for key, crop in crops.items() if crop.equal(augmented[sample])]
            found.add(match)
    assert len(found) > 20 and {flip for _, _, flip in found} == {False, True}
    assert {dy for dy, _, _ in found} == set(range(9))
    assert data(samples)[0].equal(inputs(8, 0, 32)(samples)[0])  # never in testing


def test_half_of_the_images_are_flipped_and_every_shift_is_as_frequent():
    count, draws = 4000, Draws(3)
    draws.at(0, torch.arange(count))
    line = torch.arange(1, 33, dtype=torch.uint8)  # 0 is the padding
    cropped = crop_and_flip(line.expand(count, 1, 32, 32), draws)[:, 0, 16]
    flipped = cropped[:, 15].int() > cropped[:, 16].int()
    assert stats.binomtest(int(flipped.sum()), count).pvalue > 1e-3
    shifts = cropped[:, 15].int() - 16 - flipped.int()  # from -4 to 4
    assert stats.chisquare((shifts + 4).bincount(minlength=9)).pvalue > 1e-3


def test_images_of_ones_own_are_taken_as_the_test_images_are():
    mine = inputs()
    images = torch.from_numpy(pictures()[:8].transpose(0, 3, 1, 2).copy())
    assert mine.of(images).equal(mine(torch.arange(8))[0])
    assert mine.of(images[:2, :, :20, :20]).shape == (2, 6, 16, 16)
    for wrong, reason in (
        (images.float(), "uint8"),
        (images[0], r"\(N, 3, s, s\)"),
        (images[..., :20], "crop them to squares"),
    ):
        with pytest.raises(ValueError, match=reason):
            mine.of(wrong)


def test_positions_of_another_type_are_the_same_images_with_the_same_noise():
    made = inputs()
    expected = made(torch.tensor([1, 5, 2]))
    for kind in (torch.int32, torch.uint8):
        x, labels = made(torch.tensor([1, 5, 2], dtype=kind))
        assert x.equal(expected[0]) and labels.equal(expected[1])
    drawn = uniform(3, 0, torch.tensor([7, 9], dtype=torch.int32), 1, 5)
    assert drawn.equal(uniform(3, 0, torch.tensor([7, 9]), 1, 5))
