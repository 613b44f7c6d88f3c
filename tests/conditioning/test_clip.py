"""CLIP's text encoder, frozen and fine-tuned, on a tiny CLIP read by the real loading code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from lightdiff import load_model
from lightdiff.conditioning import ClipConditioner, FrozenClipConditioner
from lightdiff.conditioning.base import Conditioner
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate
from runs import TINY, composed, train
from tiny_clip import WIDTH, save_tiny_clip

NAMES, TEMPLATES = ["4", "cat"], ["a {}", "my {}"]
BOTH = pytest.mark.parametrize("kind", [FrozenClipConditioner, ClipConditioner])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def conditioner(kind: type, clip: Path, **settings: object) -> Conditioner:
    return kind(NAMES, TEMPLATES, **{"pretrained": str(clip), "token_dim": WIDTH, "max_tokens": 8, **settings}).eval()


def reference(clip: Path, *texts: str) -> torch.Tensor:
    """What transformers makes of the texts, by its usual calls."""
    tokenizer, encoder = CLIPTokenizer.from_pretrained(clip), CLIPTextModel.from_pretrained(clip).eval()
    ids = tokenizer(list(texts), padding="max_length", max_length=8, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids).last_hidden_state


@BOTH
def test_conditions_are_transformers_own(kind: type, clip: Path) -> None:
    text = conditioner(kind, clip)
    labels, chance = torch.tensor([1, 0, 1, 1]), torch.tensor([0.9, 0.1, 0.2, 0.7])
    texts = ["my cat", "a 4", "a cat", "my cat"]
    expected = reference(clip, *texts)
    assert (expected[0] - expected[1]).abs().max() > 0.1
    with torch.no_grad():
        trained_with = text(text.inputs({"label": labels}, chance))
        torch.testing.assert_close(trained_with["tokens"], expected)
        torch.testing.assert_close(text(text.choose(labels=None, prompt=texts))["tokens"], expected)
        torch.testing.assert_close(text(text.choose(labels=[1, 0], prompt=None))["tokens"], expected[[2, 1]])
        new = text(text.choose(labels=None, prompt="two 4"))  # no caption of the data set
        torch.testing.assert_close(new["tokens"], reference(clip, "two 4"))


@BOTH
def test_dropped_captions_become_the_empty_one(kind: type, clip: Path) -> None:
    text = conditioner(kind, clip)
    inputs = text.choose(labels=[0, 1, 0], prompt=None)
    with torch.no_grad():
        dropped, kept, null = text(inputs, torch.tensor([True, False, True])), text(inputs), text.null()
    torch.testing.assert_close(null["tokens"], reference(clip, ""))
    torch.testing.assert_close(
        dropped["tokens"], torch.stack([null["tokens"][0], kept["tokens"][1], null["tokens"][0]])
    )


def test_only_the_fine_tuned_one_is_trained(clip: Path) -> None:
    assert not list(conditioner(FrozenClipConditioner, clip).parameters())
    text = conditioner(ClipConditioner, clip)
    text(text.choose(labels=[0, 1, 1], prompt=None))["tokens"].square().sum().backward()
    without = [name for name, weight in text.named_parameters() if weight.grad is None]
    assert not without


@BOTH
def test_prompts_that_cannot_be_read_are_reported(kind: type, clip: Path) -> None:
    text = conditioner(kind, clip)
    with pytest.raises(ValueError, match=r"prompt='a white cat': 11 tokens.*at most 8 fit \(max_tokens\)"):
        text.choose(labels=None, prompt="a white cat")
    with pytest.raises(ValueError, match="prompt='a ☃': a word or character that CLIP's tokenizer does not know"):
        text.choose(labels=None, prompt="a ☃")
    with pytest.raises(ValueError, match="labels=3: not together with prompt=a 4"):
        text.choose(labels=3, prompt="a 4")
    with pytest.raises(ValueError, match=r"labels=2: choices: "):
        text.choose(labels=2, prompt=None)


@BOTH
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_dim": 512}, "token_dim=512: 16 is expected, the width of pretrained="),
        ({"max_tokens": 4}, "templates='my 4': 5 tokens"),
        ({"max_tokens": 2}, "max_tokens=2: 3 or more"),
        ({"max_tokens": 78}, "max_tokens=78: pretrained=.* takes at most 77 tokens"),
        ({"drop_prob": 1.5}, "drop_prob=1.5: a probability"),
        ({"pretrained": "no such/name!"}, "pretrained=no such/name!: neither a local folder nor the name of a model"),
    ],
)
def test_wrong_settings_are_named(kind: type, clip: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner(kind, clip, **settings)


def test_folders_that_hold_no_clip_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"pretrained={tmp_path}: no tokenizer there"):
        conditioner(ClipConditioner, tmp_path)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(clip / name, tmp_path)
    with pytest.raises(ValueError, match=f"pretrained={tmp_path}: "):
        conditioner(ClipConditioner, tmp_path)
    shutil.copy(clip / "config.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"garbled")
    with pytest.raises(ValueError, match=f"pretrained={tmp_path}: "):
        conditioner(ClipConditioner, tmp_path)


def test_without_a_network_the_answer_comes_within_seconds(
    waited: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for scheme in ("http", "https"):  # nobody listens there
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"pretrained=a/b: neither a local folder .* hf download a/b --local-dir clip"):
        ClipConditioner(NAMES, TEMPLATES, pretrained="a/b")
    assert sum(waited) < 10


@BOTH
def test_its_description_rebuilds_it_without_the_files(kind: type, clip: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(clip, tmp_path / "clip")
    text = conditioner(kind, moved)
    description = config_of(text)
    shutil.rmtree(moved)
    again = instantiate(description, importer=import_safe_target).eval()
    again.load_state_dict(text.state_dict())
    with torch.no_grad():
        expected = text(text.choose(labels=[1, 0], prompt=None))["tokens"]
        assert torch.equal(again(again.choose(labels=[1, 0], prompt=None))["tokens"], expected)
        assert torch.equal(again.null()["tokens"], text.null()["tokens"])


@pytest.mark.parametrize("name", ["clip", "clip_finetuned"])
def test_a_run_reloads_without_the_files(name: str, clip: Path, tmp_path: Path) -> None:
    files = shutil.copytree(clip, tmp_path / "clip")
    config = composed(
        *(override for override in TINY if not override.startswith("model")),
        *(
            "model=resunet",
            "model.widths=[8]",
            "model.attention_levels=[0]",
            "model.num_heads=2",
            "model.image_size=16",
        ),
        *(f"conditioning={name}", f"conditioning.pretrained={files}", f"conditioning.token_dim={WIDTH}"),
        *("conditioning.max_tokens=32", "objective=v", "trainer.max_epochs=1"),
    )
    train(config, tmp_path / "version_0")
    shutil.rmtree(files)
    model = load_model(tmp_path / "version_0")
    asked = model.sample(2, prompt="A handwritten digit 4", guidance_scale=2.0, num_steps=2, seed=0)
    assert torch.equal(asked, model.sample(2, labels=4, guidance_scale=2.0, num_steps=2, seed=0))
    assert not torch.equal(asked, model.sample(2, labels=5, guidance_scale=2.0, num_steps=2, seed=0))
    if name == "clip":
        with pytest.raises(ValueError, match=f"pretrained={files}"):
            model.sample(1, prompt="a 4", num_steps=1)
    else:
        assert model.sample(1, prompt="a 4", num_steps=1).isfinite().all()


def test_a_checkpoint_cannot_set_more_than_the_architecture(clip: Path, tmp_path: Path) -> None:
    description = config_of(conditioner(ClipConditioner, clip))
    description["text_settings"]["auto_map"] = {"AutoModel": "evil.py"}
    with pytest.raises(ValueError, match="text_settings"):
        instantiate(description, key="conditioning", importer=import_safe_target)
