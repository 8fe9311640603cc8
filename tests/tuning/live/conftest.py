"""A search at one moment, and its page as text."""

import pytest

from inat.tuning.live.snapshot import Snapshot, TrialView


def trial(number: int, state: str = "running", epochs: int = 6, **values) -> TrialView:
    curve = tuple(round(0.9 - 0.7 / (epoch + 1) - number / 100, 4) for epoch in range(epochs))
    best = max(curve, default=None)
    settings = {
        "trial_id": f"t{number:04}", "number": number, "name": f"gelu-{16 * number}f-x1-4L-d0.2-bn-b64", "state": state,
        "epoch": epochs, "now": curve[-1] if curve else None, "best": best, "curve": curve,
        "seconds_per_epoch": 2.5 + number if curve else None, "place": "",
        "params": {"activation": "gelu", "learning_rate": 1e-3, "batch_norm": True, "dropout": 0.25},
        "last_row": {"epoch": epochs, "train_loss": 0.31, "val_acc": 0.8, "finished": "patience"},
    }  # fmt: skip
    return TrialView(**(settings | values))


@pytest.fixture
def snapshot() -> Snapshot:
    running = tuple(trial(number, epochs=3 * (number - 5)) for number in range(5, 9))
    ended = (
        trial(4, "failed", 2, note="RuntimeError: CUDA out of memory"), trial(3, "stopped", 3),
        trial(2, "completed", 27), trial(1, "stopped", 9, note="stopped by the user after 9 epochs"),
        trial(0, "completed", 27),
    )  # fmt: skip
    return Snapshot(
        "first", wanted=48, max_epochs=27, best=running[-1], elapsed=750, budget=3600, left=2000,
        constant="a constant answer scores 0.3600", running=running, ended=ended,
        messages=("[5/48] t0004 failed",), ending=frozenset({"t0006"}), can_end=True, on_quit="stop the search",
    )  # fmt: skip
