"""How a GPU prepares batches, without one: Triton's interpreter, its compiler, and tensors that stand for a GPU."""

import importlib.util
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inat.config.trial import DataConfig
from inat.data import augment, fused_augment
from inat.data.augment import normalise, scale_to_one
from inat.data.datamodule import network_input
from inat.data.fused_augment import NUMBERS, _why_plain, augment_plainly, packed, prepare_on_gpu, why_plain
from inat.data.loader import Batch

pytest.importorskip("triton")

CPU = torch.device("cpu")
VIEWS = {"permute", "transpose", "t", "view", "expand", "unsqueeze", "select", "slice", "detach", "empty", "device"}


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    """A copy of the kernels that Triton interprets: it decides when a kernel is defined."""
    spec = importlib.util.find_spec("inat.data.augment_kernels")
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(copy)
    return copy


def stored(count: int, side: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8)


@pytest.mark.parametrize(("order", "size", "side"), [([2, 0, 1, 3], 16, 32), ([1, 3, 2, 0], 13, 21), ([], 16, 40)])
def test_the_kernels_make_the_images_of_plain_torch(kernels, order, size, side):
    torch.manual_seed(0)
    rows, numbers = stored(4, side), torch.rand(4, NUMBERS)
    aspects = torch.tensor([1.0, 1.4, 7.0, 0.1])  # in the last two, few crops fit
    numbers[3, :10] = 1.0  # and here none
    expected = augment_plainly(rows.permute(0, 3, 1, 2), aspects, numbers, order, size)
    for normalised in (False, True):
        found = kernels.launch_augment(rows, aspects, numbers, packed(order), size, bool(order), normalised)
        assert found.is_contiguous()
        wanted = normalise(expected.clone()) if normalised else expected
        assert torch.allclose(found.permute(0, 3, 1, 2), wanted, atol=1e-4 if normalised else 2e-5)


def test_the_kernels_average_the_greys_of_images_with_several_blocks(kernels):
    torch.manual_seed(1)
    size = 40  # two blocks of 1,024 pixels
    rows, numbers, aspects = stored(1, 48), torch.rand(1, NUMBERS), torch.ones(1)
    expected = augment_plainly(rows.permute(0, 3, 1, 2), aspects, numbers, [0, 1, 2, 3], size)
    found = kernels.launch_augment(rows, aspects, numbers, packed([0, 1, 2, 3]), size, True, False)
    assert torch.allclose(found.permute(0, 3, 1, 2), expected, atol=2e-5)


def test_the_kernel_normalises_with_the_bits_of_plain_torch(kernels):
    every = torch.arange(256, dtype=torch.uint8).repeat_interleave(3).view(1, 16, 16, 3)
    expected = normalise(scale_to_one(every.permute(0, 3, 1, 2)))
    assert torch.equal(kernels.launch_normalise(every).permute(0, 3, 1, 2), expected)


def test_numbers_in_the_middle_keep_the_image():
    """The largest crop of a square image, not turned and not changed in colour, is the image."""
    rows, numbers = stored(2, 16), torch.full((2, NUMBERS), 0.5)
    numbers[:, :10] = 1.0
    images = rows.permute(0, 3, 1, 2)
    kept = augment_plainly(images, torch.ones(2), numbers, [0, 1, 2, 3], 16)
    assert torch.allclose(kept, scale_to_one(images), atol=2e-5)
    numbers[0, 22] = 0.4  # mirrors the first one
    mirrored = augment_plainly(images, torch.ones(2), numbers, [0, 1, 2, 3], 16)
    assert torch.allclose(mirrored[0], kept[0].flip(-1), atol=2e-5)
    assert torch.allclose(mirrored[1], kept[1], atol=2e-5)


def test_numbers_drawn_in_one_call_are_used_as_those_drawn_one_by_one(monkeypatch):
    """``augment`` with its random numbers replaced by those of one call makes the same images."""
    torch.manual_seed(2)
    rows, numbers, aspects = stored(5, 32), torch.rand(5, NUMBERS), torch.rand(5) + 0.5
    images, order = rows.permute(0, 3, 1, 2), [3, 1, 0, 2]
    expected = augment_plainly(images, aspects, numbers, order, 16)
    area, ratio, place, mirror, affine, colour = numbers.split(fused_augment.PARTS, 1)
    log_ratio = torch.log(torch.tensor(3 / 4)) * (1 - 2 * ratio)
    drawn = iter([place, mirror[:, 0], affine.T, colour.T])
    monkeypatch.setattr(torch, "rand", lambda *shape, device: next(drawn))
    uniform = iter([0.08 + 0.92 * area, log_ratio])
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, low, high: next(uniform))
    monkeypatch.setattr(augment, "random_order", lambda: order)
    assert torch.allclose(augment.augment(images, aspects, 16), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("policy", "side"), [("published", 32), ("light", 32), ("trivial", 32), ("randaugment", 32), ("shift", 16)]
)
def test_images_come_normalised_in_channels_last(policy, side):
    torch.manual_seed(0)
    found = prepare_on_gpu(stored(3, side).permute(0, 3, 1, 2), torch.ones(3), 16, policy)
    assert (found.shape, found.dtype) == ((3, 3, 16, 16), torch.float32)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert -2.2 < found.min() < 0 < found.max() < 2.7


class Operators(TorchDispatchMode):
    """Lists the operators on a GPU that run a kernel, and the bytes of their tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        touched = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor) and t.is_cuda]
        if touched and (name := function._schema.name.split("::")[1]) not in VIEWS:
            self.names.append(name)
            self.bytes += sum(t.nbytes for t in touched)
        return result


def operators(policy: str | None) -> tuple[Operators, torch.Tensor]:
    """What runs on a GPU for a batch of 64 images of 224 px, and the network input."""
    config = DataConfig(data="digits", image_size=224, augmentation_policy=policy or "published")
    side = config.crop_size if policy else 224
    with FakeTensorMode(), Operators() as seen:
        images = torch.empty(64, side, side, 3, dtype=torch.uint8, device="cuda").permute(0, 3, 1, 2)
        aspects = torch.empty(64, device="cuda") if policy else None
        return seen, network_input(Batch(images, torch.empty(64, device="cuda"), aspects), config)


@pytest.mark.parametrize(
    ("policy", "names"),
    [(None, ["normalise"]), ("light", ["rand", "augment"]), ("published", ["rand", "augment"])],
)
def test_a_batch_takes_few_kernels_and_bytes_and_nothing_waits(monkeypatch, policy, names):
    """Reading a fake tensor raises; "augment" is three launches, of which two read the stored images."""
    monkeypatch.setattr(
        fused_augment, "random_order", lambda: [0, 1, 2, 3]
    )  # drawn on the CPU, which is fake here, too
    seen, found = operators(policy)
    assert seen.names == names
    assert seen.bytes < 0.1e9
    assert found.shape == (64, 3, 224, 224)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_shift_reads_the_stored_images_once_and_nothing_waits():
    seen, found = operators("shift")
    assert [name for name in seen.names if name in ("index", "normalise")] == ["index", "normalise"]
    assert len(seen.names) <= 20  # the others make the places, which are small
    assert seen.bytes < 0.1e9
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def tried(monkeypatch):
    _why_plain.cache_clear()
    monkeypatch.setattr(fused_augment, "TRIED", 1)
    yield
    _why_plain.cache_clear()


def interpreted(kernels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_augment, "_augment", kernels.launch_augment)
    monkeypatch.setattr(fused_augment, "_normalise", kernels.launch_normalise)


def test_kernels_that_work_are_used_and_trying_them_draws_no_global_numbers(kernels, tried, monkeypatch):
    interpreted(kernels, monkeypatch)
    before = torch.get_rng_state()
    assert why_plain(CPU) == ""
    assert torch.equal(torch.get_rng_state(), before)


def test_kernels_that_fail_give_way_to_plain_torch(tried):
    assert why_plain(CPU).startswith("Triton fails with NotImplementedError: ")


def test_kernels_that_make_other_images_give_way_to_plain_torch(kernels, tried, monkeypatch):
    interpreted(kernels, monkeypatch)
    monkeypatch.setattr(fused_augment, "_augment", lambda *args: kernels.launch_augment(*args) + 0.1)
    assert why_plain(CPU) == "Triton's kernels made other images (100% of the pixels)"


def test_kernels_that_normalise_otherwise_give_way_to_plain_torch(kernels, tried, monkeypatch):
    interpreted(kernels, monkeypatch)
    monkeypatch.setattr(fused_augment, "_normalise", lambda images: kernels.launch_normalise(images) + 1e-6)
    assert why_plain(CPU) == "Triton's kernels made other images (100% of the pixels)"


def test_without_triton_torch_does_it(tried, monkeypatch):
    monkeypatch.setattr(fused_augment, "find_spec", lambda name: None)
    assert why_plain(CPU) == "Triton is not installed"


def test_both_ways_draw_the_same_crops(kernels, tried, monkeypatch):
    images, aspects = stored(2, 32).permute(0, 3, 1, 2), torch.ones(2)
    torch.manual_seed(5)
    plain = prepare_on_gpu(images, aspects, 16, "published")
    interpreted(kernels, monkeypatch)
    _why_plain.cache_clear()
    torch.manual_seed(5)
    assert torch.allclose(prepare_on_gpu(images, aspects, 16, "published"), plain, atol=1e-4)


TYPES = {"images": "*u8", "side": "i32", "size": "i32", "blocks": "i32", "order": "i32", "steps": "i32",
         "channels": "i32", "scale_low": "fp32", "scale_high": "fp32"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("crop_parameters", {"PUBLISHED": True}),
        ("grey_sums", {}),
        ("write_images", {"PUBLISHED": True, "NORMALISED": True, "SUMS": 64}),
        ("normalise_pixels", {}),
    ],
)
def test_the_kernels_compile_for_a_gpu(name, constants, monkeypatch, tmp_path):
    """For a T4, the oldest GPU with tensor cores; machine code proves that types and shapes are right."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from inat.data import augment_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(augment_kernels, name)
    signature = {a: "constexpr" if a in constants else TYPES.get(a, "*fp32") for a in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    try:
        compiled = triton.compile(source, target=GPUTarget("cuda", 75, 32), options=augment_kernels.LAUNCH)
    except RuntimeError as error:  # Triton for other GPUs than NVIDIA's
        pytest.skip(str(error))
    assert compiled.asm["cubin"][:4] == b"\x7fELF"
