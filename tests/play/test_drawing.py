"""What the tabs of play.py compute, without the page: the frames of draw, interpolate, fill_in and the others."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from lightdiff.config.instantiate import ConfigError
from lightdiff.data.image_store import MemoryStore
from lightdiff.play import frames as frames_module
from lightdiff.play.compare import compare
from lightdiff.play.draw import draw, drawn_picture
from lightdiff.play.fill_in import fill_in, read_mask
from lightdiff.play.frames import Followed
from lightdiff.play.interpolate import interpolate
from lightdiff.play.neighbours import neighbours, search
from lightdiff.play.start_from import start_from
from lightdiff.play.wish import Wish
from lightdiff.utils.images import make_grid, to_uint8
from playables import COLUMNS, last, of_attributes, of_holes, shipped, untrained

FEW = Wish(num_steps=3, seed=5)


@pytest.fixture(autouse=True)
def every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "SECONDS_BETWEEN", 0.0)


def test_drawn_images_are_those_of_sample_and_arise_step_by_step() -> None:
    playable, followed = shipped("mnist_fast"), Followed()
    wish = replace(FEW, label="7", guidance_scale=2.0)
    shown = list(draw(playable, wish, 4, followed))
    expected = to_uint8(playable.model.sample(4, num_steps=3, seed=5, labels=[7], guidance_scale=2.0))
    assert torch.equal(followed.images, expected)
    assert torch.equal(shown[-1].pictures[0].image, make_grid(expected, 2))
    assert [(frame.done, frame.total) for frame in shown] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    states = list(playable.model.trajectory(4, num_steps=3, seed=5, labels=[7], guidance_scale=2.0))
    for frame, state in zip(shown[:-1], states, strict=False):
        for picture, x in zip(frame.pictures, (state.x_t, state.x0_hat), strict=True):
            assert torch.equal(picture.image, make_grid(to_uint8(x), 2))


def test_the_files_are_the_grid_and_its_way_there() -> None:
    png, gif = last(draw(shipped("mnist_fast"), FEW, 4)).files
    assert (png.name, gif.name) == ("seed5.png", "seed5.gif")
    with Image.open(io.BytesIO(png.content)) as image:
        assert image.format == "PNG" and image.size[0] >= 256
    with Image.open(io.BytesIO(gif.content)) as image:
        # the four states; the last one is held as one long frame
        assert image.format == "GIF" and image.n_frames == 4


def test_few_frames_are_shown_of_a_fast_run_and_the_film_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "SECONDS_BETWEEN", 1000.0)
    shown = list(draw(untrained(), replace(FEW, num_steps=100), 1))
    assert [frame.done for frame in shown] == [0, 100]
    with Image.open(io.BytesIO(shown[-1].files[1].content)) as image:
        assert image.n_frames == frames_module.FILM_FRAMES


def test_the_row_leads_from_one_seeds_image_to_the_others() -> None:
    playable, wish = shipped("mnist_fast"), replace(FEW, label="3")
    frame = last(interpolate(playable, wish, 9, 5))
    ends = [to_uint8(playable.model.sample(1, num_steps=3, seed=seed, labels=[3]))[0] for seed in (5, 9)]
    assert len(frame.row) == 5
    for picture, end in zip((frame.row[0], frame.row[-1]), ends, strict=True):
        # a row is computed as one batch, whose sums are rounded otherwise
        assert (picture.image.int() - end.int()).abs().max() <= 1
    assert not torch.equal(frame.row[1].image, frame.row[0].image)
    assert [picture.caption.split()[0] for picture in frame.row] == ["0", "25", "50", "75", "100"]


def test_only_what_is_painted_changes() -> None:
    playable = shipped("mnist_fast")
    picture = drawn_picture(playable, FEW)
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[:, 14:] = True
    frame = last(fill_in(playable, FEW, picture, mask, 1, 2))
    result = frame.pictures[-1].image
    assert torch.equal(result[:, ~mask], picture[:, ~mask])
    assert not torch.equal(result[:, mask], picture[:, mask])


def test_a_model_of_holes_fills_them_by_its_condition() -> None:
    playable, picture = of_holes(), torch.full((1, 8, 8), 200, dtype=torch.uint8)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4] = True
    condition = torch.cat([picture, (~mask).to(torch.uint8)[None] * 255])
    frame = last(fill_in(playable, FEW, picture, mask, 2, 1))
    expected = to_uint8(playable.model.sample(2, num_steps=3, seed=5, condition=condition[None]))
    assert torch.equal(frame.pictures[-1].image, make_grid(expected, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [("0" * 64, "nothing is painted"), ("", "nothing is painted"), ("1" * 63, "64 letters"), ("x" * 64, "64 letters")],
)
def test_a_mask_of_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^mask: .*{message}"):
        read_mask(text, (8, 8))


def test_a_mask_is_read_row_by_row() -> None:
    assert read_mask("110000", (2, 3)).tolist() == [[True, True, False], [False, False, False]]


def test_little_noise_keeps_the_picture_and_much_does_not() -> None:
    playable = shipped("mnist_fast")
    picture = drawn_picture(playable, FEW)
    wish = replace(FEW, num_steps=10)
    changed = [
        (last(start_from(playable, wish, picture, 1, strength)).pictures[-1].image.float() - picture).abs().mean()
        for strength in (0.1, 1.0)
    ]
    assert changed[0] < 10 < changed[1]
    # only the steps that are made are counted
    assert last(start_from(playable, wish, picture, 1, 0.5)).total == 5
    with pytest.raises(ValueError, match="^strength=2"):
        next(start_from(playable, wish, picture, 1, 2.0))


def test_two_models_draw_from_the_same_noise() -> None:
    first, second = shipped("mnist_fast"), shipped("mnist_one_step")
    shown = list(compare(first, second, FEW, 4))
    for row, playable in enumerate((first, second)):
        expected = to_uint8(playable.model.sample(4, num_steps=3, seed=5))
        for column in range(4):
            cell = shown[-1].pictures[0].image[:, 1 + 29 * row :, 1 + 29 * column :][:, :28, :28]
            assert torch.equal(cell, expected[column])
    noise = shown[0].pictures[0].image
    assert torch.equal(noise[:, 1:29], noise[:, 30:58])


def test_models_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(ConfigError, match=r"1x28x28 and tiny of 1x8x8 .* no noise fits both"):
        next(compare(shipped("mnist_fast"), untrained(), FEW, 4))


def test_the_nearest_images_are_found_with_their_distances() -> None:
    generator = torch.Generator().manual_seed(0)
    store = MemoryStore(
        torch.randint(256, (9000, 1, 8, 8), generator=generator, dtype=torch.uint8), torch.zeros(9000).long()
    )
    images = store.images[[17, 8500]].clone()
    # 10 levels from one image, and an exact copy of another
    images[0] = torch.where(images[0] > 100, images[0] - 10, images[0] + 10)
    *others, found = search(images, store, 3)
    assert len(others) == 2 and found.rows[:, 0].tolist() == [17, 8500]
    assert found.distances[:, 0].tolist() == pytest.approx([10.0, 0.0])
    exact = (images[:, None].double() - store.images.double()).square().mean((2, 3, 4)).sqrt()
    torch.testing.assert_close(found.distances.double(), exact.sort(1).values[:, :3], rtol=1e-4, atol=1e-3)


def test_neighbours_are_shown_beside_each_image() -> None:
    playable = untrained()
    playable._training_images = MemoryStore(torch.zeros(7, 1, 8, 8, dtype=torch.uint8), torch.zeros(7).long())
    *going, frame = neighbours(playable, FEW, 2)
    assert len(frame.pictures) == 2 and "7 training images" in frame.note
    assert going[0].total == frame.total == 4


def test_training_images_that_are_not_there_are_one_line_and_nothing_is_asked_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr("lightdiff.data.download.any_answers", lambda *_: pytest.fail("a server was asked"))
    playable = replace(shipped("mnist_fast"), data_dir=str(tmp_path), _training_images=None)
    with pytest.raises(RuntimeError, match=r"no data in .*MNIST/raw; say where they are by data_dir$"):
        next(neighbours(playable, FEW, 2))
    assert [*tmp_path.iterdir()] == []


def test_attributes_count() -> None:
    playable = of_attributes()
    assert playable.columns == COLUMNS and playable.class_names == ()
    birds, fish = (
        last(draw(playable, replace(FEW, attributes={"kind": kind}), 1)).pictures[-1].image for kind in COLUMNS["kind"]
    )
    assert not torch.equal(birds, fish)


def test_a_picture_is_the_condition_of_a_model_that_takes_one() -> None:
    playable = shipped("mnist_super_resolution")
    small = torch.zeros(1, 7, 7, dtype=torch.uint8)
    small[:, 1:6, 3] = 255
    frame = last(draw(playable, replace(FEW, condition=small), 1))
    assert [picture.caption for picture in frame.pictures] == ["condition", "result"]
    expected = to_uint8(playable.model.sample(1, num_steps=3, seed=5, condition=small[None]))
    assert torch.equal(frame.pictures[-1].image, make_grid(expected, 1))
    with pytest.raises(ConfigError, match="this model needs a picture of 7x7"):
        next(draw(playable, FEW, 1))


@pytest.mark.parametrize(
    ("change", "count", "message"),
    [
        ({}, 65, "images=65: 1 to 64 is expected"),
        ({"num_steps": 0}, 1, "steps=0: 1 to 1000 is expected"),
        ({"num_steps": 10**9}, 1, "steps=1e[+]09: 1 to 1000 is expected"),
        ({"seed": -1}, 1, "seed=-1: 0 to"),
        ({"sampler": "magic"}, 1, "sampler=magic: choices: ddpm"),
        ({"label": "cat"}, 1, "class=cat: choices: 0, 1, 2"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(change: dict, count: int, message: str) -> None:
    """Whoever sends it: the fields of the page are no protection."""
    with pytest.raises(ValueError, match=f"^{message}"):
        next(draw(shipped("mnist_fast"), replace(FEW, **change), count))


def test_a_sampler_that_adds_noise_makes_no_row() -> None:
    with pytest.raises(ValueError, match="needs a sampler that adds no noise"):
        next(interpolate(shipped("mnist_fast"), replace(FEW, sampler="ddpm"), 1, 3))


def test_the_choices_come_from_the_model() -> None:
    fast, one_step = shipped("mnist_fast"), shipped("mnist_one_step")
    assert fast.class_names == tuple("0123456789") and fast.takes == ("labels",) and fast.guidance_acts
    assert (fast.usual_steps, one_step.usual_steps) == (50, 2)
    assert shipped("mnist_super_resolution").condition_shape == (1, 7, 7)
    plain = untrained()
    assert (plain.takes, plain.class_names, plain.guidance_acts, plain.condition_shape) == ((), (), False, None)
    assert {"ddpm", "ddim"} <= {*fast.samplers()} and "ddpm" not in fast.samplers(without_noise=True)
