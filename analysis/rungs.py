"""Epochs at which ASHA compares trials; pure arithmetic, so that `inat` and `analysis` can share it."""


def rung_milestones(grace: int, factor: int, max_epochs: int) -> list[int]:
    """Epochs of ASHA's rungs: ``grace * factor**k`` for k = 0, 1, ... as long as the epoch is below ``max_epochs``.

    >>> rung_milestones(grace=3, factor=3, max_epochs=27)
    [3, 9]
    """
    assert min(grace, factor - 1) > 0, f"grace {grace} and factor {factor} give no end of rungs"
    milestones = []
    epoch = grace
    while epoch < max_epochs:
        milestones.append(epoch)
        epoch *= factor
    return milestones
