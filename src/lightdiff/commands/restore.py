"""Restore images with a trained model from what was measured of them: small, blurred, gray, with holes, or random sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightdiff.commands.drawing import Follower
from lightdiff.commands.edit import unaimed
from lightdiff.commands.edit_inputs import read_images, read_mask
from lightdiff.commands.output_folder import hash_of, hash_of_pixels
from lightdiff.commands.picture_folder import (
    check_named_out,
    check_pixels,
    content_settings,
    name_parts,
    write_pictures,
)
from lightdiff.commands.picture_settings import PictureSettings, check_pictures
from lightdiff.commands.restorations import FILES, Restored
from lightdiff.commands.trained import load_for_sampling, load_trained
from lightdiff.config.instantiate import ConfigError, import_target, instantiate
from lightdiff.config.plain import plain
from lightdiff.config.settings import COUNT, check_ranges
from lightdiff.core import keyed_generator
from lightdiff.data.given_images import image_files
from lightdiff.data.resize import ResizeMode
from lightdiff.inverse import LinearOperator, Measurement
from lightdiff.model import DiffusionModel, Generation
from lightdiff.model.loop import batches
from lightdiff.samplers import SamplerState
from lightdiff.utils.images import to_uint8
from lightdiff.utils.progress import progress
from lightdiff.utils.weight_files import folder_of

NOT_CONTENT = ("ckpt_path", "image", "mask", "condition", "out", "overwrite", "progress")
"""Keys of restore.yaml that do not decide what is drawn. SHA-256 of the checkpoint and of the pixels stand for the paths."""
USUAL_DRAWS = 4
"""Restorations of each image where num_samples is null."""


@dataclass(frozen=True)
class RestoreSettings(PictureSettings):
    """The keys of restore.yaml beside the groups.

    Raises:
        ConfigError: a number is out of its range.
    """

    needed: ClassVar[tuple[str, ...]] = ("operator", "method", "sampler")

    save: Sequence[
        Literal[
            "overview",
            "truth",
            "measurement",
            "restoration",
            "mean",
            "spread",
            "grid",
            "png",
            "npz",
            "gif",
            "mp4",
            "strip",
            "steps",
            "history",
        ]
    ]
    image: str | Sequence[str]
    degraded: bool
    noise_std: float
    mask: str | None
    resize_mode: ResizeMode
    range: tuple[float, float] | None
    max_pixels: int

    def __post_init__(self) -> None:
        not_negative = (lambda value: value >= 0, "0 or more is expected")
        check_ranges("", vars(self), {"max_pixels": COUNT, "noise_std": not_negative})
        if self.degraded and "truth" in self.save:
            raise ValueError("save=truth: with degraded=true the truth is not known")
        super().__post_init__()


@dataclass(frozen=True)
class Problem:
    """What is known of the images.

    Args:
        operator: A.
        measured: y (K, ...), in the units of x0, on the CPU.
        given: the images that were read, uint8 (K, ...): the truth, or the measurement.
        truth: the truth, uint8 (K, C, H, W), or None.
    """

    operator: LinearOperator
    measured: Tensor
    given: Tensor
    truth: Tensor | None

    def denoiser(self, config: dict[str, Any], denoiser: Any, rows: range) -> Measurement:
        """Return the denoiser that knows the measurements of these rows.

        Raises:
            ConfigError: a setting of the method is out of its range.
        """
        measured = self.measured[torch.arange(rows.start, rows.stop) % len(self.measured)]
        method: Measurement = instantiate(
            config["method"],
            key="method",
            denoiser=denoiser,
            operator=self.operator,
            measured=measured,
            noise_std=config["noise_std"],
        )
        return method


def restore(cfg: DictConfig) -> Path:
    """Restore images and write the files that `save` names into a folder; return the folder.

    Raises:
        ConfigError: a setting that does not exist or does not fit, an image that cannot be read, or a folder with other files in
            it.
        OSError: the disk is full or broken.
    """
    config = plain(cfg)
    files = _checked(config)
    checkpoint, model, generation, identity = load_trained(config)
    # the data of the training decide nothing here
    del identity["data"]
    generation, problem, mask = _fitted(config, files, model, generation)
    settings: dict[str, Any] = {
        "checkpoint": identity,
        "images": hash_of_pixels(problem.given),
        "mask": None if mask is None else hash_of_pixels(mask),
        **({} if generation.condition is None else {"condition": hash_of_pixels(generation.condition)}),
        "settings": content_settings(config, generation, NOT_CONTENT),
    }
    kinds = [config[group]["_target_"].rpartition(".")[2].lower() for group in ("operator", "method")]
    name = "_".join([*kinds, *name_parts(config, generation), hash_of(settings)])

    def draw() -> Restored:
        drawn = _draw(problem, model, generation, config)
        if drawn.truth is not None:
            found = settings["psnr"] = drawn.psnr()
            means = {kind: sum(values) / len(values) for kind, values in found.items()}
            print(", ".join(f"PSNR of the {kind}: {value:.1f} dB" for kind, value in means.items()))
        return drawn

    return write_pictures(
        config, folder_of(checkpoint) / "samples" / name, settings, draw, command="restore", files=FILES
    )


def check(cfg: DictConfig) -> None:
    """Raise the errors in the configuration that `restore` would raise; nothing is drawn."""
    config = plain(cfg)
    files = _checked(config)
    _, model, generation, _ = load_for_sampling(config, torch.device("cpu"))
    _fitted(config, files, model, generation)


def _checked(config: dict[str, Any]) -> list[Path]:
    """Check what needs no model, and set num_samples; return the image files."""
    check_pictures(config, RestoreSettings)
    check_named_out(config, "restore")
    takes_mask = getattr(_operator_class(config), "takes_mask", False)
    if takes_mask and config["mask"] is None:
        raise ConfigError("mask: a value is needed (mask=...), an image that is white where the pixels are unknown")
    if not takes_mask and config["mask"] is not None:
        raise ConfigError(f"mask={config['mask']}: this operator takes no mask; choices: operator=inpaint")
    files = image_files(config["image"])
    count = config["num_samples"]
    if count is not None and count % len(files):
        raise ConfigError(
            f"num_samples={count}: a multiple of {len(files)} is expected, as many restorations of each given image"
        )
    config["num_samples"] = count or USUAL_DRAWS * len(files)
    return files


def _operator_class(config: dict[str, Any]) -> Any:
    for group in ("operator", "method"):
        if "_target_" not in config[group]:
            raise ConfigError(f"{group}._target_: a value is needed")
    try:
        return import_target(config["operator"]["_target_"])
    except ConfigError as error:
        raise ConfigError(f"operator.{error}") from error


def _fitted(
    config: dict[str, Any], files: Sequence[Path], model: DiffusionModel, generation: Generation
) -> tuple[Generation, Problem, Tensor | None]:
    """Check the settings against the model; return the generation, what is known of the images, and the mask."""
    check_pixels(config, model)
    if not model.objective.noise.is_gaussian:
        kind = type(model.objective.noise).__name__
        raise ConfigError(f"ckpt_path={config['ckpt_path']}: trained with {kind}; restoring needs Gaussian noise")
    mask = None if config["mask"] is None else read_mask(config["mask"], config, model.image_shape)
    if mask is not None and mask.all():
        raise ConfigError(f"mask={config['mask']}: nothing in it is black, so that nothing is measured")
    extra: dict[str, Any] = {} if mask is None else {"mask": mask}
    operator: LinearOperator = instantiate(config["operator"], key="operator", shape=model.image_shape, **extra)
    problem = _measured(config, operator, files, model)
    # a setting out of its range is refused now, and not after the model was compiled
    problem.denoiser(config, model.denoiser, range(1))
    return unaimed(config, generation), problem, mask


def _measured(
    config: dict[str, Any], operator: LinearOperator, files: Sequence[Path], model: DiffusionModel
) -> Problem:
    """Read the images: the measurement itself, or the truth, which is degraded."""
    if config["degraded"]:
        if operator.picture_shape is None:
            kind = type(operator).__name__
            raise ConfigError(
                f"degraded=true: a measurement by {kind} is no image, so that none can be given; choices: false"
            )
        given = read_images(files, config, operator.picture_shape)
        return Problem(operator, operator.from_picture(_encoded(model, given)), given, None)
    given = read_images(files, config, model.image_shape)
    y = operator(_encoded(model, given))
    noise = torch.randn(y.shape, generator=keyed_generator("cpu", "measurement", config["seed"]))
    return Problem(operator, operator.from_picture(y + config["noise_std"] * noise), given, given)


def _encoded(model: DiffusionModel, images: Tensor) -> Tensor:
    """Return x0 of uint8 images on the CPU."""
    return model.encode(images.to(model.device)).cpu()


def _draw(problem: Problem, model: DiffusionModel, generation: Generation, config: dict[str, Any]) -> Restored:
    count = config["num_samples"]
    parts = batches(range(count), config["batch_size"])
    with progress("restoring images", len(parts) * generation.num_steps, shown=config["progress"]) as counter:
        follower = Follower(model, config, counter)
        results = [
            follower.result(generation.stepwise(model, _states(problem, model, generation, config, part)), part)
            for part in parts
        ]
    shown = problem.operator.to_picture(problem.measured)
    return Restored(
        torch.cat(results),
        *follower.process(results[0]),
        results[0][:0],
        generation.labels_of_rows(range(count)),
        model.class_names,
        (*follower.times, 0.0),
        measurement=to_uint8(model.codec.decode(shown.to(model.device))).cpu(),
        truth=problem.truth,
    )


def _states(
    problem: Problem, model: DiffusionModel, generation: Generation, config: dict[str, Any], rows: range
) -> Iterator[SamplerState]:
    """Yield the sampler's states, from noise to the restorations `rows`."""
    # conditions of inference mode could not take part in the backward passes of the methods
    with torch.inference_mode(False), torch.no_grad():
        denoiser, cond, generator = generation.parts(model, rows)
    like = torch.empty((len(rows), *model.image_shape), device=model.device, dtype=model.float_dtype)
    x_T = model.schedule.prior_std * model.objective.noise.like(like, generator)
    known = problem.denoiser(config, denoiser, rows)
    known.measured = known.measured.to(like)
    yield from generation.sampler.trajectory(known, x_T, generation.num_steps, cond, generator)
