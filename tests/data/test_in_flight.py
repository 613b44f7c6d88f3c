"""Large images wait for each other, so that their sum stays within the memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lightdiff.data import DataError, DiffSet
from lightdiff.data.in_flight import InFlight, in_flight
from lightdiff.data.resize import Fit


def test_threads_wait_for_room_and_a_larger_image_is_the_only_one() -> None:
    counter, sums, lock = InFlight(10), [0], threading.Lock()
    now = 0

    def work(pixels: int) -> None:
        nonlocal now
        with counter.image():
            counter.claim(pixels)
            with lock:
                now += pixels
                sums.append(now)
            threading.Event().wait(0.002)
            with lock:
                now -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 5, 2, 1, 10, 6] * 20))
        assert max(sums) <= 10
        list(pool.map(work, [3, 40, 5] * 5))
        assert max(sums) == 40


def test_an_image_that_cannot_be_read_gives_its_room_back() -> None:
    counter = InFlight(10)
    for _ in range(3):
        with pytest.raises(DataError), counter.image():
            counter.claim(9)
            raise DataError("broken")
    with counter.image():
        counter.claim(9)
    # outside of an image nothing is counted and nothing waits
    counter.claim(9)
    counter.claim(9)


def test_a_folder_is_read_one_by_one_where_its_images_are_large(
    tmp_path: Path, write_image, random_pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(12):
        write_image(tmp_path / f"{i}.png", random_pixels(20, 30, 3, seed=i))
    at_once, most = threading.Semaphore(1), Fit.__call__

    def alone(self: Fit, images: torch.Tensor) -> torch.Tensor:
        assert at_once.acquire(blocking=False)
        threading.Event().wait(0.005)
        fitted = most(self, images)
        at_once.release()
        return fitted

    monkeypatch.setattr(Fit, "__call__", alone)
    monkeypatch.setattr(in_flight, "limit", 700)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    data = DiffSet("folder", data_dir=str(tmp_path), image_size=16, channels=3, batch_size=2, resize_mode="crop")
    data.prepare_data()
    data.setup()
