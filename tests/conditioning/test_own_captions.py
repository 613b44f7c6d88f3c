"""Text conditioners on captions that the images have themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from lightdiff.conditioning import ClipConditioner, FrozenClipConditioner, TextConditioner
from lightdiff.conditioning import clip as clip_module
from lightdiff.config.describe import config_of
from lightdiff.config.instantiate import import_safe_target, instantiate
from tiny_clip import WIDTH, save_tiny_clip

WORDS = "a blue cat heart red"
EXAMPLES = ["a red cat", "blue heart"]


def conditioner(**settings) -> TextConditioner:
    torch.manual_seed(0)
    made = {"token_dim": 8, "num_heads": 2, "max_tokens": 4, "vocabulary": WORDS, "examples": EXAMPLES, **settings}
    return TextConditioner(None, None, **made)


def batch(*captions: str) -> dict:
    return {"image": torch.zeros(len(captions), 1, 4, 4), "caption": list(captions)}


def test_a_batch_is_conditioned_on_its_captions() -> None:
    text = conditioner()
    inputs = text.inputs(batch("a red cat", "Blue heart!"), torch.zeros(2))
    assert torch.equal(inputs, text.choose(labels=None, prompt=["A red cat", "blue heart"]))
    # without a prompt samples show the examples
    assert torch.equal(inputs, text.choose(labels=None, prompt=None))
    assert text.takes == ("prompt",) and not text.by_class and text.class_names is None


def test_unknown_words_of_a_caption_are_left_out_and_an_empty_one_is_the_null_condition() -> None:
    text = conditioner().eval()
    inputs = text.inputs(batch("a red elephant cat", "elephant", ""), torch.zeros(3))
    assert torch.equal(inputs[0], text.choose(labels=None, prompt="a red cat")[0])
    cond, null = text(inputs), text.null()
    assert torch.equal(cond["mask"][1:], null["mask"].expand(2, -1))
    torch.testing.assert_close(cond["tokens"][1:, :1], null["tokens"][:, :1].expand(2, -1, -1))


def test_what_is_asked_for_like_a_batch_gives_its_inputs() -> None:
    text, like = conditioner(), batch("a red elephant cat", "elephant", "", "heart")
    assert torch.equal(text.choice_of(like, torch.zeros(4)), text.inputs(like, torch.zeros(4)))


def test_unknown_words_of_a_prompt_are_named() -> None:
    with pytest.raises(ValueError, match=r"^prompt='red dog': unknown word 'dog'; known: a, blue, cat, heart, red$"):
        conditioner().choose(labels=None, prompt="red dog")
    many = conditioner(vocabulary=" ".join([*(f"word{i}" for i in range(40)), "heart", "hearts"]))
    with pytest.raises(ValueError, match=r"unknown word 'heert'; nearest of the 42 known ones: heart, hearts$"):
        many.choose(labels=None, prompt="heert")
    with pytest.raises(ValueError, match=r"unknown word 'xyzzy'; nearest of the 42 known ones: none$"):
        many.choose(labels=None, prompt="xyzzy")
    with pytest.raises(ValueError, match=r"^labels=1: this model was trained on captions; .*prompt="):
        conditioner().choose(labels=1, prompt=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulary": None}, r"^vocabulary=null: the words of the captions are expected"),
        ({"vocabulary": "red Red"}, r"^vocabulary: .* not 'Red'"),
        ({"vocabulary": "red red"}, r"^vocabulary: .* not 'red'"),
        ({"examples": ["a red cat a red"]}, r"^max_tokens=4: 5 or more is expected.*: 'a red cat a red'$"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner(**settings)


def test_the_longest_caption_is_named_before_training() -> None:
    text = conditioner()
    text.prepare(["a red cat", "a red unknown word cat"])
    with pytest.raises(ValueError, match=r"^max_tokens=4: 6 or more .* words: 'a red cat a blue heart'$"):
        text.prepare(["a red cat a blue", "a red cat a blue heart", "a"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"caption": None}, r"^caption=None: TextConditioner needs the captions of the images, a list of 2 texts$"),
        ({"caption": "a cat"}, r"^caption=str: a list of 2 texts"),
        ({"caption": ["a"]}, r"^caption=list of 1: 2 texts"),
        ({"caption": ["a", 1]}, r"^caption=list: a list of 2 texts"),
    ],
)
def test_a_batch_without_captions_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditioner().check({**batch("a", "a"), **changed})


def test_its_description_builds_it_again() -> None:
    text = conditioner()
    again = instantiate(config_of(text), importer=import_safe_target)
    again.load_state_dict(text.state_dict())
    prompt = {"labels": None, "prompt": "a blue cat"}
    assert torch.equal(again(again.choose(**prompt))["tokens"], text(text.choose(**prompt))["tokens"])
    assert again.number_of == text.number_of and again.examples == EXAMPLES


def test_the_condition_of_a_prompt_does_not_depend_on_the_batch() -> None:
    text = conditioner().eval()
    choice = text.choose(labels=None, prompt=["a cat", "red heart"])
    alone = text(text.inputs_of_rows(choice, range(1, 2), torch.device("cpu")))
    torch.testing.assert_close(
        text(text.inputs_of_rows(choice, range(4), torch.device("cpu")))["tokens"][3:], alone["tokens"]
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    folder = save_tiny_clip(tmp_path_factory.mktemp("clip"))
    return lambda **settings: {
        **{"class_names": None, "templates": None, "pretrained": str(folder), "token_dim": WIDTH, "max_tokens": 8},
        **{"examples": EXAMPLES[:1], **settings},
    }


@pytest.mark.parametrize("kind", [FrozenClipConditioner, ClipConditioner])
def test_clip_reads_them_too(kind: type, clip: Callable[..., dict]) -> None:
    settings = clip(max_tokens=12)
    conditioner = kind(**settings).eval()
    conditioner.prepare(["red cat", "a", ""])
    inputs = conditioner.inputs(batch("red cat", "", "red cat"), torch.zeros(3))
    cond = conditioner(inputs)["tokens"]
    torch.testing.assert_close(cond[:1], conditioner(conditioner.choose(labels=None, prompt="red cat"))["tokens"])
    torch.testing.assert_close(cond[1:2], conditioner.null()["tokens"])
    assert torch.equal(cond[0], cond[2]) and conditioner.takes == ("prompt",)
    with pytest.raises(ValueError, match=r"^max_tokens=12: 18 or more .* tokens: 'a very long caption'$"):
        conditioner.prepare(["red", "a very long caption"])


def test_the_frozen_clip_embeds_every_caption_once(clip: Callable[..., dict], monkeypatch: pytest.MonkeyPatch) -> None:
    conditioner = FrozenClipConditioner(**clip(max_tokens=12))
    loaded: list[str] = []
    load = clip_module.load_pretrained
    monkeypatch.setattr(clip_module, "load_pretrained", lambda name: (loaded.append(name), load(name))[1])
    average = copy.deepcopy(conditioner)
    conditioner.prepare(["red cat", "a", "red cat"])
    for each in (conditioner, average):
        each.inputs(batch("a", "red cat"), torch.zeros(2))
    assert len(loaded) == 1
    # a checkpoint has the embedded examples, and no table that grows with the data
    assert conditioner.state_dict()["table"].shape == (2, 12, WIDTH)
    again = FrozenClipConditioner(**clip(max_tokens=12, embedded=True))
    again.load_state_dict(conditioner.state_dict())
    assert torch.equal(again.choose(labels=None, prompt=None), conditioner.choose(labels=None, prompt=None))
    assert len(loaded) == 1
