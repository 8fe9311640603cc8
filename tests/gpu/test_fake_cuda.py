import pytest
import torch
from torch import nn

from tests.gpu.fake_cuda import fake_cuda


def waits_of(action) -> list[str]:
    with fake_cuda() as watch:
        values = torch.empty(3, device="cuda")
        watch.now = watch.training
        action(values)
    return watch.training.waits


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda values: values[0].item(), "_local_scalar_dense waits"),
        (lambda values: bool(values.sum() > 0), "_local_scalar_dense waits"),
        (lambda values: values.tolist(), "_local_scalar_dense waits"),
        (lambda values: torch.tensor([1.0, 2.0], device="cuda"), "a copy from cpu to cuda waits"),
        (lambda values: torch.ones(3).to("cuda"), "a copy from cpu to cuda waits"),
        (lambda values: values.copy_(torch.ones(3)), "a copy from cpu to cuda waits"),
        (lambda values: values.cpu(), "a copy from cuda to cpu waits"),
    ],
)
def test_whatever_waits_is_seen_with_its_line(action, words):
    waits = waits_of(action)
    assert waits[0].startswith(words)
    assert all("tests/gpu/test_fake_cuda.py" in wait for wait in waits)


@pytest.mark.parametrize(
    "action", [lambda values: values[values > 0], lambda values: values.nonzero(), lambda values: values.unique()]
)
def test_shapes_that_depend_on_values_are_refused(action):
    with pytest.raises(Exception, match="nonzero|unique|data-dependent|Dynamic"):
        waits_of(action)


@pytest.mark.parametrize(
    "action",
    [
        lambda values: torch.ones(3).to("cuda", non_blocking=True),
        lambda values: values.masked_fill(values > 0, 1.0),
        lambda values: int(torch.randint(5, ())),
        lambda values: torch.zeros((), pin_memory=True).copy_(values.sum(), non_blocking=True),
        lambda values: nn.functional.one_hot(values.long(), 5),
    ],
)
def test_what_does_not_wait_is_not_reported(action):
    assert waits_of(action) == []


def test_kernels_and_bytes_are_counted():
    with fake_cuda() as watch:
        values = torch.empty(1000, device="cuda")
        watch.now = watch.training
        (values + 1).view(10, 100).t()
    assert dict(watch.training.kernels) == {"add": 1}
    assert watch.training.bytes["add"] == 8000


def test_the_host_has_its_own_random_numbers():
    with fake_cuda():
        torch.manual_seed(0)
        drawn = [int(torch.randint(1000, ())) for _ in range(5)]
    assert len(set(drawn)) > 1
    assert torch.ones(2).sum() == 2  # nothing is fake any more
