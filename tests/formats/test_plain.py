"""The quantized network goes through torch's own tools, itself and as plain modules."""

from collections.abc import Callable

import pytest
import torch
from brought import images, network
from torch import Tensor, nn

import mrecg
from mrecg import Result


class Several(nn.Module):
    """Depthwise, strided 1 x 1, transposed and residual layers, a gate, and a linear layer without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6())
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, padding_mode="reflect")
        self.skip = nn.Conv2d(4, 8, 1, 2)
        self.main = nn.Conv2d(4, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2, groups=2)
        self.head = nn.Linear(4, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = nn.functional.silu(self.depthwise(x))
        x = torch.relu(self.skip(x) + self.main(x))
        x = self.up(x)
        return self.head((x * torch.sigmoid(x)).mean((2, 3)))


@pytest.fixture(scope="module", params=[network, Several])
def result(request: pytest.FixtureRequest) -> Result:
    torch.manual_seed(3)
    return mrecg.quantize(
        request.param(), images(8), weight_bits=3, activation_bits=4, method="rtn", granularity="block",
        progress=False, trainer={"threads": 1}, calibration={"candidates": 4, "bins": 64},
    )  # fmt: skip


@pytest.fixture(params=["itself", "plain"])
def subject(request: pytest.FixtureRequest, result: Result) -> nn.Module:
    return result.model if request.param == "itself" else result.plain()


@torch.no_grad()
def test_plain_has_the_same_bits_and_nothing_of_the_package(result: Result) -> None:
    plain = result.plain()
    for x in (images(1), images(5), torch.randn(2, 3, 24, 24) * 3):
        assert torch.equal(plain(x), result.model(x))
    kinds = {type(part) for part in plain.modules()}
    assert not any(kind.__name__ in ("QuantizedLayer", "ActivationQuantizer") for kind in kinds)
    assert len(plain.state_dict()["head.weight" if hasattr(plain, "head") else "7.weight"].unique()) <= 256
    assert not any(parameter.requires_grad for parameter in plain.parameters())


@torch.no_grad()
def test_torch_export_takes_it_with_any_number_of_images(subject: nn.Module, result: Result) -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(subject, (images(2),), dynamic_shapes=shapes).module()
    for count in (1, 2, 7):
        assert torch.allclose(program(images(count)), result.model(images(count)), atol=1e-6)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_takes_it_in_one_graph(subject: nn.Module, result: Result, backend: str) -> None:
    compiled: Callable[[Tensor], Tensor] = torch.compile(subject, backend=backend, fullgraph=True)
    for count in (2, 5):
        assert torch.allclose(compiled(images(count)), result.model(images(count)), atol=1e-6)


@torch.no_grad()
def test_a_program_sees_a_network_as_it_is_not_as_it_was_when_compiled(result: Result) -> None:
    """Plain modules are a copy: what is done to them does not reach the result."""
    before, plain = result.model(images()), result.plain()
    for parameter in plain.parameters():
        parameter.zero_()
    assert torch.equal(result.model(images()), before)
