"""Between two points of the curves the host never waits for the device: nothing in a step asks for a tensor's value.

On a CPU such a question costs nothing; on a GPU it empties the queue of kernels. So the operations that would ask are counted.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from runs import tiny, train

ON_THE_CPU = ("core/prediction.py", "data/order.py")
"""Files that look at tensors which lie on the CPU whatever the device: a single alpha, the rows of a batch."""
ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim"}


class Questions(TorchDispatchMode):
    """Records where the code asks for a tensor's value while this is active."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.active = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.active, name = True, func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]
        )
        if name in ASKING or masks:
            self.asked.append(caller(name))
        return func(*args, **(kwargs or {}))


def caller(name: str) -> str:
    frames = [frame for frame in traceback.extract_stack()[:-2] if "/torch/" not in frame.filename]
    return f"{name} in {frames[-1].filename}:{frames[-1].lineno}"


def test_a_question_is_noticed(questions: Questions) -> None:
    numbers = torch.arange(3.0)
    with questions:
        for ask in (lambda: numbers[0].item(), lambda: bool(numbers.isnan().any()), lambda: numbers[numbers > 1]):
            ask()
        assert len(questions.asked) == 3
        numbers.tolist()
    assert len(questions.asked) == 4


class Watch(Callback):
    """Counts questions from the start of one batch to the start of the next, for the batches without a point."""

    questions = Questions()

    def __init__(self, batches: list[int]) -> None:
        self.batches = batches
        self.open = contextlib.ExitStack()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.open.close()
        if batch_idx in self.batches:
            self.open.enter_context(Watch.questions)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.open.close()


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Questions]:
    asked = Questions()
    monkeypatch.setattr(Watch, "questions", asked)

    def watched(name: str) -> Any:
        original = getattr(Tensor, name)

        def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.numel() and torch.utils._python_dispatch._get_current_dispatch_mode() is asked:
                asked.asked.append(caller(name))
            return original(self, *args, **kwargs)

        return method

    for name in ("tolist", "numpy", "cpu"):  # which a CPU does without an operation
        monkeypatch.setattr(Tensor, name, watched(name))
    yield asked


VARIANTS = {
    "plain": [],
    "bf16": ["trainer.precision=bf16-mixed"],
    "clipped": ["trainer.gradient_clip_val=1.0"],
    "accumulated": ["trainer.accumulate_grad_batches=2"],
    "labels": ["conditioning=label", "lr_scheduler=cosine", "optimizer=adamw"],
    "text": [
        "conditioning=text",
        "model=resunet",
        "model.widths=[8]",
        "model.attention_levels=[0]",
        "model.blocks_per_level=1",
    ],
    "edm": ["schedule=edm", "objective=edm"],
    "flow": ["schedule=flow", "objective=flow", "dataset.horizontal_flip=true"],
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_step_asks_for_no_value(variant: str, questions: Questions, tmp_path: Path) -> None:
    config = tiny(*VARIANTS[variant], "trainer.max_epochs=1", "trainer.log_every_n_steps=7", "callbacks=no_samples")
    config["callbacks"] = {**config["callbacks"], "watch": {"_target_": f"{__name__}.Watch", "batches": [2, 3]}}
    train(config, tmp_path)
    assert questions.active
    assert [question for question in questions.asked if not any(file in question for file in ON_THE_CPU)] == []
