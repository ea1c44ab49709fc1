"""The Triton kernels: their values in Triton's interpreter or on a GPU, and their compilation without one."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mrecg.quant import affine, drop
from mrecg.quant.affine import UNBOUNDED, FakeQuant, fake_quantize
from mrecg.quant.drop import Draw, Drop
from mrecg.quant.kernels import switch
from mrecg.quant.kernels.switch import fused
from mrecg.quant.modules import QuantizedLayer
from mrecg.reconstruct import loss, soft_rounding

EARLY = "mrecg.quant.kernels.gpu" in sys.modules
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
TRITON = find_spec("triton") is not None
KEYS = [0, 1, 1234567, 2**63, 2**64 - 1]
SIZES = [1, 4095, 4096, 70_001]
BOUNDS = [UNBOUNDED, (0.0, float("inf")), (0.0, 6.0)]
THRESHOLDS = [0, 64, 255, 256]

runs = pytest.mark.skipif(
    not TRITON or not (INTERPRETED or torch.cuda.is_available()), reason="no GPU, no interpreter"
)
compiles = pytest.mark.skipif(not TRITON or INTERPRETED, reason="no Triton that compiles")


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the interpreter, tensors on the CPU take the way of those on a GPU."""
    torch.manual_seed(0)
    if INTERPRETED:
        for module in (affine, drop, soft_rounding, loss):
            monkeypatch.setattr(module, "serving", lambda *t: switch.serving(*t) and "triton")


def as_tensor(key: int) -> Tensor:
    return torch.tensor(key - 2**64 if key >= 2**63 else key, device=DEVICE)


def both(compute: Callable[[], tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Results of the kernels, and of plain torch operations."""
    results = []
    for on in (True, False):
        with fused(on):
            results.append(compute())
    return zip(*results, strict=True)


def quantized(
    x: Tensor, settings: FakeQuant, upstream: Tensor, step: float = 0.31
) -> tuple[Tensor, Tensor, Tensor]:
    leaf, scale = x.clone().requires_grad_(), torch.tensor([step], device=DEVICE, requires_grad=True)
    out = fake_quantize(leaf, scale, settings)
    torch.autograd.backward(out, upstream)
    assert leaf.grad is not None and scale.grad is not None
    return out.detach(), leaf.grad, scale.grad


@pytest.mark.slow
def test_the_interpreter_agrees_with_torch() -> None:
    if not TRITON or INTERPRETED:
        pytest.skip("no Triton, or this is the interpreter")
    command = [sys.executable, "-m", "pytest", "-rs", "--noconftest", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[3]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "no GPU" not in done.stdout


@runs
@pytest.mark.parametrize(
    ("size", "bounds", "threshold"),
    [
        *product(SIZES[:-1], BOUNDS, THRESHOLDS),
        *zip([SIZES[-1]] * 4, cycle(BOUNDS), THRESHOLDS, strict=False),
    ],
)
def test_activations_are_those_of_torch(size: int, bounds: tuple[float, float], threshold: int) -> None:
    x, upstream = 4 * torch.randn(size, device=DEVICE), torch.randn(size, device=DEVICE)
    if size > 1000:
        x[:900] = torch.arange(-450, 450, device=DEVICE) * 0.155  # ties, and the ends of the grid
        x[900:903] = torch.tensor([0.0, 6.0, -0.0])
    settings = FakeQuant(5.0, 15, 0.01, bounds, Draw(2**63 + size, threshold))
    (out, plain), (grad, plain_grad), (slope, plain_slope) = both(lambda: quantized(x, settings, upstream))
    assert torch.equal(out, plain) and torch.equal(grad, plain_grad)
    torch.testing.assert_close(slope, plain_slope, rtol=1e-6, atol=1e-9)


@runs
def test_large_levels_are_rounded_half_to_even() -> None:
    start = torch.tensor([2.0**e for e in range(18, 27)])
    x = (start[:, None] + torch.arange(64) / 4).flatten().to(DEVICE)
    x = torch.cat([x, -x, torch.arange(-40, 40, device=DEVICE) / 4])
    settings = FakeQuant(2.0**30, 2**31 - 1)
    for ours, plain in both(lambda: quantized(x, settings, torch.ones_like(x), 0.5)):
        assert torch.equal(ours, plain)
    assert torch.equal(next(both(lambda: quantized(x, settings, x, 0.5)))[0], torch.round(x / 0.5) * 0.5)


@runs
@pytest.mark.parametrize("threshold", [64, 256])
@pytest.mark.parametrize("bounds", [UNBOUNDED, (0.0, 6.0)])
def test_what_is_not_a_number_stays_so(threshold: int, bounds: tuple[float, float]) -> None:
    x = torch.randn(100, device=DEVICE)
    x[::3] = float("nan")
    settings = FakeQuant(5.0, 15, 1.0, bounds, Draw(3, threshold))
    results = list(both(lambda: quantized(x, settings, torch.ones_like(x))))
    assert torch.equal(results[0][0].isnan(), x.isnan()) and results[2][0].isnan()
    for ours, plain in results:
        torch.testing.assert_close(ours, plain, rtol=0, atol=0, equal_nan=True)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "images": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "strided": lambda x: x[:, ::2, 1:],
    "strided vector": lambda x: x.flatten()[::2],
    "empty": lambda x: x[:0],
}


@runs
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_does_not_matter(layout: str) -> None:
    x = LAYOUTS[layout](4 * torch.randn(3, 8, 5, 7, device=DEVICE))
    settings = FakeQuant(5.0, 15, 1.0, (0.0, 6.0), Draw(99, 128))
    for upstream in (torch.randn_like(x), torch.ones((), device=DEVICE).expand(x.shape)):
        for ours, plain in both(partial(quantized, x, settings, upstream)):
            torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0)


@runs
@pytest.mark.parametrize("key", KEYS)
def test_masks_are_those_of_torch_wherever_the_key_lies(key: int) -> None:
    for size, threshold in [(1, 1), (77, 100), (4095, 200), (4104, 255)]:
        ones, zeros = torch.ones(size, device=DEVICE), torch.zeros(size, device=DEVICE)
        expected = Draw(key, threshold).mask(ones)
        assert torch.equal(Draw(as_tensor(key), threshold).mask(ones), expected)
        for form in (key, as_tensor(key)):
            out = torch.empty_like(ones)
            switch.triton_kernels().mix(ones, zeros, out, key=form, threshold=threshold)
            assert torch.equal(out, expected)
    x, upstream = torch.randn(2, 300, device=DEVICE)
    for on in (True, False):
        with fused(on):
            results = [
                quantized(x, FakeQuant(5.0, 15, draw=Draw(form, 99)), upstream)
                for form in (key, as_tensor(key))
            ]
        assert all(map(torch.equal, *results))


@runs
def test_drop_mixes_as_torch_does() -> None:
    kept, dropped = torch.randn(2, 4, 6, 5, 5, device=DEVICE)
    for ours, plain in both(lambda: (Drop(0.5, 7).mix(kept, dropped),)):
        assert torch.equal(ours, plain)


@runs
@pytest.mark.parametrize("beta", [None, 2.0, 20.0, torch.tensor(3.0)])
def test_soft_rounding_is_that_of_torch(beta: float | Tensor | None) -> None:
    beta = beta.to(DEVICE) if isinstance(beta, Tensor) else beta
    layer = QuantizedLayer(nn.Conv2d(16, 64, 3).to(memory_format=torch.channels_last), bits=2)
    layer.calibrate(kind="lp", norm=2.4, candidates=10)
    layer.to(DEVICE)
    noise, probe = torch.randn(layer.reference.numel(), device=DEVICE), torch.randn_like(layer.reference)

    def step() -> tuple[Tensor, ...]:
        rounding = soft_rounding.SoftRounding([layer])
        with torch.no_grad():
            rounding.alpha.add_(2 * noise)
        rounding.lend()
        assert layer.soft is not None
        torch.autograd.backward((layer.soft * probe).square().sum())
        penalty = rounding.collect(weight=0.3, beta=beta)
        assert (penalty is None) == (beta is None) and rounding.alpha.grad is not None
        return layer.soft.detach(), rounding.alpha.grad, torch.zeros(()) if penalty is None else penalty

    for ours, plain in both(step):
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=1e-6)
        assert (ours != 0).any() or beta is None


@runs
@pytest.mark.parametrize("size", SIZES)
def test_the_exponent_may_be_a_tensor(size: int) -> None:
    alpha, gain, grad = 2 * torch.randn(3, size, device=DEVICE)
    alpha[0] = 0.0  # the middle of the regulariser
    results = []
    for beta in (7.5, torch.tensor(7.5, device=DEVICE)):
        out = torch.empty_like(alpha)
        total = switch.triton_kernels().gradient(alpha, gain, grad, out, regulariser=0.1, beta=beta)
        results.append((total, out))
    assert all(map(torch.equal, *results))
    total, out = results[0]
    h = torch.clamp(1.2 * torch.sigmoid(alpha.double()) - 0.1, 0, 1)
    assert total.item() == pytest.approx((1 - (2 * h - 1).abs() ** 7.5).sum().item(), rel=1e-5)
    assert torch.isfinite(out).all()


@runs
@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (4, 6), (2, 3, 40, 41)])
def test_the_loss_is_that_of_torch(shape: tuple[int, ...]) -> None:
    out, target = torch.randn(shape, device=DEVICE), torch.randn(shape, device=DEVICE)

    def step() -> tuple[Tensor, ...]:
        leaf = out.clone().requires_grad_()
        value = loss.reconstruction_loss(leaf, target)
        torch.autograd.backward(3 * value)
        assert leaf.grad is not None
        return value.detach(), leaf.grad

    for ours, plain in both(step):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-8)


@runs
def test_sums_are_the_same_every_time() -> None:
    kernels, (x, y) = switch.triton_kernels(), torch.randn(2, 70_001, device=DEVICE)
    totals = {kernels.squared(x, y, torch.empty_like(x), factor=0.5).item() for _ in range(3)}
    assert len(totals) == 1
    assert totals.pop() == pytest.approx((x.double() - y.double()).square().sum().item(), rel=1e-6)


class Reads(TorchDispatchMode):
    """Counts what a GPU would have to be waited for; on the CPU, also what would be copied to one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "lift_fresh"):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@runs
def test_nothing_waits_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    launch = switch.triton_kernels()._launch
    monkeypatch.setattr(
        switch.triton_kernels(),
        "_launch",
        lambda kernel, *a, **k: (
            launched.append(kernel.fn.__name__) or (None if INTERPRETED else launch(kernel, *a, **k))
        ),
    )
    layer = QuantizedLayer(nn.Linear(8, 8), bits=2).to(DEVICE)
    rounding, source = soft_rounding.SoftRounding([layer]), Drop(0.5, 1)
    x = torch.randn(2, 4, 8, device=DEVICE)
    scale = torch.ones(1, device=DEVICE, requires_grad=True)
    with Reads() as found:
        rounding.lend()
        mixed = source.mix(x[0], x[1]).requires_grad_()
        out = layer(fake_quantize(mixed, scale, FakeQuant(2.0, 3, draw=source.draw())))
        loss.reconstruction_loss(out, x[1]).backward()
        rounding.collect(weight=0.1, beta=3.0)
    assert found.seen == []
    assert launched == ["soften", "mix", "quantize", "squared", "gradients", "gradient"]


class Driver:
    """Stands for a GPU's driver as far as compilation asks for one."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return 1000 + self.target.arch  # no device of this machine, whose kernels are kept apart

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target


@compiles
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_once_for_all_keys(
    capability: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from triton.runtime import JITFunction, driver

    from mrecg.quant.kernels import gpu_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(
        JITFunction, "__getitem__", lambda self, grid: partial(self.warmup, grid=grid)
    )  # compiles as a launch would, and launches nothing
    kernels, fake = switch.triton_kernels(), Driver(capability)
    x, y, out, scale = (torch.zeros(4096) for _ in range(4))
    words, floats = torch.zeros(5, dtype=torch.int64), torch.ones(5)

    def launch(key: int | Tensor, beta: float | Tensor, step: Tensor) -> None:
        numbers = {"grid": (-5.0, 10.0), "bounds": (0.0, 6.0), "key": key}
        for threshold in (0, 64, 255, 256):
            kernels.quantize(x, out, scale=step, threshold=threshold, **numbers)
            kernels.gradients(x, y, out, scale=step, threshold=threshold, **numbers)
            kernels.mix(x, y, out, key=key, threshold=threshold)
        kernels.soften(x, y, scale, out)
        kernels.gradient(x, y, scale, out, regulariser=0.01, beta=beta)
        kernels.gradient(x, y, scale, out, regulariser=0.0, beta=1.0)
        kernels.squared(x, y, out, factor=0.5)

    def compiled() -> dict[str, list[Any]]:
        functions = [part for part in vars(gpu_kernels).values() if isinstance(part, JITFunction)]
        made = {
            f.fn.__name__: list(f.device_caches[fake.get_current_device()][0].values()) for f in functions
        }
        return {name: each for name, each in made.items() if each}

    with monkeypatch.context() as patch:
        patch.setattr(driver, "_active", fake)
        # As a step would: random keys, a new exponent each time, scales wherever they lie.
        for key, beta, step in zip(
            [2**40, 2**50 + 1, 2**63, 2**63 + 5, 2**64 - 2**50], range(2, 7), floats, strict=True
        ):
            launch(key, float(beta), step)
        numbers = compiled()
        for word, beta in zip(words, floats, strict=True):
            launch(word, beta, scale[:1])
        tensors = compiled()
    # With drop and without, with the regulariser and without.
    counts = {"quantize": 2, "gradients": 2, "mix": 1, "soften": 1, "gradient": 2, "squared": 1}
    assert {name: len(each) for name, each in numbers.items()} == counts
    # A key or an exponent on the device is another kernel; only one.
    more = {"quantize": 3, "gradients": 3, "mix": 2, "gradient": 3}
    assert {name: len(each) for name, each in tensors.items()} == {**counts, **more}
    for name, each in tensors.items():
        for kernel in each:
            code = kernel.asm["ptx"]
            assert f".target sm_{capability}" in code and kernel.asm["cubin"]
            assert "atom." not in code and "div.full" not in code and "div.approx" not in code
            assert "st.global.v4" in code
            if name in ("quantize", "gradients"):  # these are compared bit by bit
                assert (
                    "div.rn.f32" in code
                    and "fma." not in code
                    and ".ftz" not in code
                    and "approx" not in code
                )


def test_nothing_imports_triton_before_it_is_needed() -> None:
    if not INTERPRETED:
        pytest.skip("other tests may have: only the interpreter's process is this file's own")
    assert not EARLY


def test_float32_is_served_where_triton_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def stub(dtype: torch.dtype = torch.float32, kind: str = "cuda") -> Any:
        return SimpleNamespace(dtype=dtype, device=torch.device(kind), is_cuda=kind == "cuda")

    monkeypatch.setattr(switch, "_runs", lambda device: True)
    assert switch.serving(stub(), stub()) == "triton" and not switch.serves(stub())
    assert switch.serving(torch.zeros(1)) == "numba" and switch.serves(torch.zeros(1))
    for others in ([torch.float64, "cuda"], [torch.float32, "cpu"], [torch.float32, "mps"]):
        assert switch.serving(stub(), stub(*others)) is None
    with fused(False):
        assert switch.serving(stub()) is None and switch.serving(torch.zeros(1)) is None
    monkeypatch.setattr(switch, "_runs", lambda device: False)
    assert switch.serving(stub()) is None


def test_without_triton_torch_computes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mrecg.quant.kernels.gpu", None)
    monkeypatch.delattr("mrecg.quant.kernels.gpu", raising=False)
    monkeypatch.setattr(switch, "triton_kernels", switch.triton_kernels.__wrapped__)
    assert not switch._runs.__wrapped__(torch.device("cpu"))
    (record,) = caplog.records
    assert "no fused kernels on cpu" in record.getMessage() and "\n" not in record.getMessage()


@pytest.mark.parametrize("key", KEYS)
def test_a_key_may_be_a_tensor_on_the_cpu(key: int) -> None:
    if INTERPRETED:
        pytest.skip("the kernels for the CPU")
    word, x = torch.tensor(key - 2**64 if key >= 2**63 else key), torch.randn(2, 3, 5, 7)
    assert torch.equal(Draw(word, 77).mask(x), Draw(key, 77).mask(x))
    for on in (True, False):
        with fused(on):
            scale = torch.tensor([0.2])
            ours, plain = (fake_quantize(x, scale, FakeQuant(3.0, 7, draw=Draw(k, 77))) for k in (word, key))
        assert torch.equal(ours, plain)
