"""Super-resolution: digits drawn by a trained model against those of a regression network of equal size, trained equally long.

The regression network is the model's own network without noise and time: it sees the enlarged small digit alone, and learns the
mean of all digits that fit by the squared error, in as many steps on the same batches. Both enlarge the first validation images.

    python train.py experiment=mnist_super_resolution dataset.data_dir=data
    python bench/super_resolution.py lightning_logs/mnist/version_0 --data-dir data

Printed for each: FID and the share read as the true digit by the classifier of the metrics, and PSNR.
"""

from __future__ import annotations

import argparse
import copy
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor, nn

from lightdiff import DiffSet, DiffusionModel, load_model
from lightdiff.config.describe import config_of
from lightdiff.metrics import FID, ClassifierExtractor, Evaluation, Generated, PromptAccuracy
from lightdiff.model import conditioned_like
from lightdiff.model.generation import Generation
from lightdiff.samplers import DDPM
from lightdiff.utils.images import to_uint8


def trained_regression(model: DiffusionModel, data: DiffSet, steps: int, lr: float, decay: float = 0.999) -> nn.Module:
    """Return the average of a network like the model's that maps condition images to images, trained by the squared error.

    Args:
        model: the trained model, whose network is built anew.
        data: the images.
        steps: optimizer steps.
        lr: learning rate after the warm-up, from which it falls to 0.
        decay: decay of the average of the weights.
    """
    torch.manual_seed(0)
    settings = {name: value for name, value in config_of(model.network).items() if name != "_target_"}
    network: nn.Module = type(model.network)(**settings)
    network.train().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    batches = cycle(data.train_dataloader())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 100) * (1 - step / steps)
        images = next(batches)["image"]
        loss = (regressed(model, network, images) - model.encode(images)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            kept = min(decay, (step + 1) / (step + 10))
            for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(weight, 1 - kept)
        if step % 200 == 0:
            print(f"regression: step {step} of {steps}, loss {loss.item():.4f}", flush=True)
    return average.eval()


def regressed(model: DiffusionModel, network: nn.Module, images: Tensor) -> Tensor:
    """Return what the network makes of the conditions of uint8 images (N, C, H, W)."""
    assert model.conditioning is not None
    cond = model.conditioning(model.conditioning.inputs({"image": images}, torch.zeros(len(images))))
    return network(torch.zeros(images.shape), torch.zeros(len(images)), cond)


def psnr(images: Tensor, truth: Tensor) -> float:
    """Return the mean PSNR in dB of uint8 images (N, C, H, W)."""
    errors = (images.double() - truth.double()).square().flatten(1).mean(1)
    return (10 * (255**2 / errors).log10()).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder or checkpoint of experiment=mnist_super_resolution")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=3276, help="optimizer steps of the regression network")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--num-steps", type=int, default=20, help="sampler steps of the model")
    arguments = parser.parse_args()

    model = load_model(arguments.run)
    data = DiffSet("mnist", data_dir=arguments.data_dir, image_size=model.image_shape[1:], resize_mode="none")
    data.setup()
    count = arguments.samples
    truth = data.val_set[range(count)]
    extractor = ClassifierExtractor()
    extractor.prepare(data, "cpu")
    metrics = {"fid": FID(), "prompt_accuracy": PromptAccuracy()}
    evaluation = Evaluation(
        metrics, extractor, data, num_samples=count, cache_dir=Path(arguments.data_dir) / "reference"
    )

    def report(name: str, images: Tensor) -> None:
        drawn = Generated(images, extractor(images), truth["label"])
        values = [value for metric in metrics.values() for value in metric(drawn, evaluation.real, extractor).values()]
        print(
            f"{name:12} FID {values[0].value:.3f}   read as the true digit {values[1].value:.2%}   "
            f"PSNR {psnr(images, truth['image']):.2f} dB",
            flush=True,
        )

    report("real images", truth["image"])
    generation = Generation.of(
        model, **model.conditioning.example(), sampler=DDPM(clip_denoised=True), num_steps=arguments.num_steps, seed=0
    )
    generation = conditioned_like(generation, model, data.val_set, count)
    report("diffusion", to_uint8(generation.images(model, range(count))))
    network = trained_regression(model, data, arguments.steps, arguments.lr)
    with torch.inference_mode():
        parts = [regressed(model, network, truth["image"][i : i + 500]).clamp(-1, 1) for i in range(0, count, 500)]
    report("regression", to_uint8(torch.cat(parts)))


if __name__ == "__main__":
    main()
