"""Generate digits with a DCGAN.

A generator learns to draw 8 x 8 digits that a discriminator cannot distinguish from scikit-learn's
scanned ones. `AdversarialStep` trains the two networks on each batch; the loop, the run folder and
resuming are those of `sightline.train.fit`.

    python examples/dcgan_digits.py                                     takes a minute on two cores
    python examples/dcgan_digits.py --classifier runs/classify/digits   also classifies the results

The classifier is a run of `sightline train data=digits name=digits`. It is given 200 generated
digits.

Source: Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks" (2016).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import sightline
from sightline.data import load_digits_classification
from sightline.train import EMA, AdversarialStep, Player, fit

LATENT = 32
SEED = 0


def real_digits():
    """The 1,438 digits of the training split: images [N, 1, 8, 8] in [-1, 1], labels [N]."""
    records = load_digits_classification()[0].records
    pictures = np.stack([record.image[:, :, 0] for record in records])
    labels = np.array([record.labels[0] for record in records])
    return TensorDataset(torch.tensor(pictures)[:, None] / 127.5 - 1, torch.tensor(labels))


class Generator(nn.Sequential):
    """Latents [B, 32] -> images [B, 1, 8, 8] in [-1, 1]."""

    def __init__(self, width=32):
        layers = [nn.Unflatten(1, (LATENT, 1, 1)), nn.ConvTranspose2d(LATENT, 4 * width, 2)]
        for channels in (4 * width, 2 * width):  # 2 x 2, 4 x 4 and 8 x 8 pixels
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1)]
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1), nn.Tanh()]
        super().__init__(*layers)


class Discriminator(nn.Sequential):
    """Images [B, 1, 8, 8] -> logits [B, 1] that they are real."""

    def __init__(self, width=32):
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2)]
        for channels in (width, 2 * width):
            layers += [nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)]
            layers += [nn.BatchNorm2d(2 * channels), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(16 * width, 1))


def discriminator_loss(real, generated):
    """Cross-entropy: low where real images have high logits and generated ones low logits."""
    return {"real": F.softplus(-real).mean(), "generated": F.softplus(generated).mean()}


def generator_loss(generated):
    """Low where the discriminator takes generated images for real ones."""
    return F.softplus(-generated).mean()


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999))


@torch.no_grad()
def draw(generator, count):
    """Generated images, uint8 [count, 8, 8], from the same latents in every call."""
    latents = torch.randn(count, LATENT, generator=torch.Generator().manual_seed(SEED))
    pictures = generator.eval()(latents)[:, 0]
    return ((pictures + 1) * 127.5).round().byte().numpy()


def save_grid(pictures, path, columns=16, scale=6):
    """Save images [N, 8, 8] as one file, in rows with gaps between them."""
    framed = np.pad(pictures, ((0, -len(pictures) % columns), (1, 1), (1, 1)))
    rows = framed.reshape(-1, columns, 10, 10).swapaxes(1, 2).reshape(-1, 10 * columns)
    size = (scale * rows.shape[1], scale * rows.shape[0])
    Image.fromarray(255 - rows).resize(size, Image.Resampling.NEAREST).save(path)


def read_digits(classifier, pictures):
    """The share of images that a digit classifier reads with confidence, and how many per digit."""
    found = [read for read in classifier.predict(list(pictures)) if read.score > 0.5]
    counts = np.bincount([read.label for read in found], minlength=10)
    return {"read with confidence above .5": len(found) / len(pictures), "each": counts.tolist()}


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classifier", help="run folder of a classifier that reads the digits")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/dcgan"), help="run folder (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--epochs", type=int, default=60, help="epochs (default: %(default)s)")
    options = parser.parse_args(words)
    try:
        classifier = sightline.load(options.classifier) if options.classifier else None
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if classifier is not None and classifier.class_names != tuple("0123456789"):
        parser.error(f"{options.classifier} does not classify the digits 0 to 9")

    torch.manual_seed(SEED)
    generator, discriminator = Generator(), Discriminator()
    step = AdversarialStep(
        Player(generator, adam(generator), generator_loss),
        Player(discriminator, adam(discriminator), discriminator_loss),
        latent_shape=(LATENT,),
        ema=EMA(generator, decay=0.99),
        seed=SEED,
    )
    loader = DataLoader(real_digits(), batch_size=64, shuffle=True, drop_last=True)
    try:
        history = fit(step, loader, epochs=options.epochs, out=options.out, resume=options.resume)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if history.stopped:
        print(f"continue with --resume --out {options.out}")
        return 130

    pictures = draw(step.model, 200)
    save_grid(pictures[:128], options.out / "samples.png")
    print(f"samples: {options.out / 'samples.png'}")
    if classifier is not None:
        numbers = read_digits(classifier, pictures)
        (options.out / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")
        print(f"of {len(pictures)} generated digits: {numbers}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
