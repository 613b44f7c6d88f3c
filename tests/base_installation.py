"""Walk through what a user does, in an environment that holds only what the base installation brings.

    .venv/bin/python tests/base_installation.py            the scripts of this clone: python train.py ...
    bin/python tests/base_installation.py --package        an installed wheel: lightdiff train ...

Run with the Python of that environment. Nothing but the standard library is needed here. Each step prints a line; the first
that fails ends it with code 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
OPTIONAL = (
    "diffusers",
    "transformers",
    "datasets",
    "torch_fidelity",
    "wandb",
    "mlflow",
    "trackio",
    "pytest",
    "IPython",
)
TINY = (
    *("dataset=digits", "model=unet_small", "model.widths=[8,16]", "model.attention_levels=[1]", "conditioning=label"),
    *("trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=4", "sampler=ddim", "sampler.num_steps=3"),
)
RUN = "lightning_logs/digits/version_0"
CAPTIONED = (
    *(
        "dataset=folder",
        "dataset.data_dir=photos/images",
        "dataset.name=photos",
        "dataset.image_size=16",
        "dataset.channels=1",
    ),
    *(
        "dataset.batch_size=8",
        "model=resunet",
        "model.widths=[8]",
        "model.attention_levels=[0]",
        "conditioning=text_small",
    ),
    *("trainer=cpu", "trainer.max_epochs=1", "sampler=ddim", "sampler.num_steps=3"),
)
REFUSED = {
    "train dataset=huggingface dataset.source.path=x": "dataset=huggingface: needs the extra huggingface",
    "train dataset=digits model=diffusers_unet": "model=diffusers_unet: needs the extra diffusers",
    "train experiment=text_to_digit": "model=diffusers_text_unet: needs the extra diffusers",
    "train dataset=digits model=dit conditioning=clip": "conditioning=clip: needs the extra text",
    "train -m launcher=joblib seed=1,2": "launcher=joblib: needs the extra cluster",
    "train -m launcher=slurm seed=1,2": "launcher=slurm: needs the extra cluster",
    "train -m hparams_search=optuna_mnist": "hparams_search=optuna_mnist: needs the extra sweep",
    "train dataset=digits logger=wandb": "logger=wandb: needs the extra wandb",
    f"eval ckpt_path={RUN} extractor=inception": "extractor=inception: needs the extra inception",
    f"export ckpt_path={RUN} format=diffusers out=pipeline": "format=diffusers: needs the extra diffusers",
}


class Walk:
    """The commands of one installation, run in an empty folder with an empty HOME.

    Args:
        folder: the working directory.
        package: use the command `lightdiff` instead of the scripts.
    """

    def __init__(self, folder: Path, package: bool) -> None:
        self.folder, self.package = folder, package
        home = folder / "home"
        home.mkdir()
        self.environment = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "2"}
        self.environment.pop("PYTHONPATH", None)

    def words(self, command: str) -> list[str]:
        name, *arguments = command.split()
        if self.package:
            return [str(Path(sys.executable).with_name("lightdiff")), name, *arguments]
        return [sys.executable, str(ROOT / f"{name}.py"), *arguments]

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def succeeds(self, command: str, *files: str) -> None:
        """The command ends with code 0 and has written these files."""
        done = self.run(self.words(command))
        missing = [file for file in files if not any(self.folder.glob(file))]
        check(command, done.returncode == 0 and not missing, f"{done.stdout}{done.stderr}\nmissing: {missing}")

    def refuses(self, command: str, message: str) -> None:
        """The command ends with code 2, one line on stderr, and leaves the folder as it was."""
        before = sorted(self.folder.rglob("*"))
        done = self.run(self.words(command))
        lines = done.stderr.strip().splitlines()
        one_line = len(lines) == 1 and lines[0].startswith(f"error: {message}, which is not installed; install it: ")
        check(command, done.returncode == 2 and one_line and sorted(self.folder.rglob("*")) == before, done.stderr)

    def python(self, code: str, expected: str) -> None:
        done = self.run([sys.executable, "-c", code])
        check(code, done.returncode == 0 and expected in done.stdout, done.stdout + done.stderr)

    def tensorboard(self) -> None:
        """TensorBoard starts and finds the curves of the run."""
        words = [str(Path(sys.executable).with_name("tensorboard")), "--logdir", "lightning_logs", "--port", "0"]
        process = subprocess.Popen(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            address = next((found for line in process.stderr if (found := re.search(r"http://\S+", line))), None)
            check("tensorboard starts", address is not None, "it ended without an address")
            assert address is not None
            with urllib.request.urlopen(f"{address.group()}data/plugin/scalars/tags", timeout=PATIENCE) as answer:
                tags = answer.read().decode()
            check("tensorboard shows train/loss", "train/loss" in tags, tags)
        finally:
            process.kill()
            process.wait()


def check(what: str, passed: bool, otherwise: str) -> None:
    """Print the step; end with code 1 where it failed."""
    print(f"{'ok' if passed else 'FAILED'}: {' '.join(what.split())[:110]}", flush=True)
    if not passed:
        print(otherwise, file=sys.stderr)
        raise SystemExit(1)


def only_the_base() -> None:
    """Refuse an environment that holds more: the walk would prove nothing."""
    more = [name for name in OPTIONAL if importlib.util.find_spec(name) is not None]
    check("the environment holds the base installation only", not more, f"also installed: {', '.join(more)}")


def walk(steps: Walk, model: Path, enlarging: Path) -> None:
    """All steps.

    Args:
        steps: the installation.
        model: an exported model, such as models/mnist_fast.
        enlarging: an exported model that is conditioned on images, such as models/mnist_super_resolution.
    """
    for command, message in REFUSED.items():
        if RUN not in command:
            steps.refuses(command, message)
    check("refused first runs leave no folder", not (steps.folder / "lightning_logs").exists(), "lightning_logs")
    steps.succeeds(f"train {' '.join(TINY)}", f"{RUN}/checkpoints/last.ckpt", f"{RUN}/samples/step_*.gif")
    steps.succeeds(f"train resume={RUN} trainer.max_epochs=2")
    steps.succeeds(f"sample ckpt_path={RUN} num_samples=4 save=[grid,gif,mp4,npz] out=drawn", "drawn/process.mp4")
    steps.succeeds(
        f"edit ckpt_path={RUN} task=inpaint image=drawn/grid.png mask=drawn/grid.png out=edited", "edited/process.gif"
    )
    steps.succeeds(
        f"restore ckpt_path={RUN} image=drawn/grid.png operator=super_resolution operator.factor=2 method=dps "
        "sampler.num_steps=3 num_samples=2 save=[overview,spread] out=restored",
        "restored/overview.png",
        "restored/spread.png",
    )
    steps.succeeds(
        f"sample ckpt_path={enlarging} condition=drawn/grid.png num_samples=2 sampler.num_steps=3 out=enlarged",
        "enlarged/input.png",
        "enlarged/grid.png",
    )
    steps.succeeds(
        f"sample ckpt_path={RUN} num_samples=20 sampler.num_steps=2 save=[png] out=photos", "photos/images/*.png"
    )
    photos = sorted((steps.folder / "photos" / "images").glob("*.png"))
    lines = [f"{photo.name},{'a light digit' if number % 2 else 'a dark digit'}" for number, photo in enumerate(photos)]
    (photos[0].parent / "metadata.csv").write_text("\n".join(["file_name,text", *lines]) + "\n")
    steps.succeeds(f"train {' '.join(CAPTIONED)}", "lightning_logs/photos/version_0/samples/step_*.png")
    steps.succeeds(
        "sample ckpt_path=lightning_logs/photos/version_0 prompt=light sampler.num_steps=2 num_samples=2 out=read"
    )
    steps.succeeds(
        f"eval ckpt_path={RUN} num_samples=60 sampler.num_steps=2 metrics.kid.subset_size=20 metrics.is.splits=2 "
        "metrics=[fid,kid,is,precision_recall,prompt_accuracy,synthetic_accuracy] metrics.synthetic_accuracy.epochs=1",
        f"{RUN}/evaluation/table.md",
    )
    steps.succeeds(f"train {' '.join(TINY)} callbacks=evaluation callbacks.evaluation.num_samples=20")
    steps.succeeds(f"export ckpt_path={RUN} out=shared", "shared/model.safetensors")
    steps.succeeds("report lightning_logs/digits", "lightning_logs/digits/report.html")
    steps.succeeds(
        f"sample ckpt_path={model} num_samples=4 sampler.num_steps=4 labels=[3,3,7,0] out=shipped", "shipped/grid.png"
    )
    for path in (RUN, "shared", str(model)):
        code = f"from lightdiff import load_model; print(load_model({path!r}).sample(2, num_steps=2, seed=0).shape)"
        steps.python(code, "torch.Size([2, 1, ")
    steps.python("import lightdiff; print(*dir(lightdiff))", "DiffSet DiffusionModel load_model\n")
    steps.tensorboard()
    for command, message in REFUSED.items():
        if RUN in command:
            steps.refuses(command, message)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--package", action="store_true", help="the command lightdiff instead of the scripts")
    package = parser.parse_args().package
    only_the_base()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # beside the work, so that nothing is read out of the clone
        models = [
            shutil.copytree(ROOT / "models" / each, folder / each) for each in ("mnist_fast", "mnist_super_resolution")
        ]
        walk(Walk(folder, package), *map(Path, models))
    print("base installation: all steps passed")


if __name__ == "__main__":
    main()
