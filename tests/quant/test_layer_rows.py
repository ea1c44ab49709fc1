"""Weights as rows, and moments of inputs: against the layers themselves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mrecg.quant.input_moments import Moments
from mrecg.quant.layer_rows import Arrangement
from mrecg.quant.modules import QuantizedLayer
from mrecg.quant.output_metric import Solution, output_error

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 5), (8, 6)),
    "linear of tokens": (lambda: nn.Linear(6, 5), (4, 3, 6)),
    "1x1": (lambda: nn.Conv2d(6, 4, 1), (3, 6, 5, 5)),
    "1x1 strided": (lambda: nn.Conv2d(6, 4, 1, stride=2), (3, 6, 5, 5)),
    "1x1 padded": (lambda: nn.Conv2d(6, 4, 1, padding=1), (3, 6, 5, 5)),
    "1x1 grouped": (lambda: nn.Conv2d(6, 4, 1, groups=2), (3, 6, 5, 5)),
    "dense": (lambda: nn.Conv2d(4, 5, (3, 2), stride=(2, 1), padding=1), (3, 4, 7, 6)),
    "dilated, same": (lambda: nn.Conv2d(4, 5, 3, padding="same", dilation=2), (3, 4, 7, 7)),
    "circular": (lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular"), (3, 4, 6, 6)),
    "reflected": (lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"), (3, 4, 6, 6)),
    "grouped": (lambda: nn.Conv2d(6, 4, 3, groups=2), (3, 6, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6), (3, 6, 6, 6)),
    "depthwise, two for each": (lambda: nn.Conv2d(3, 6, 5, padding=2, groups=3), (3, 3, 7, 7)),
    "1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (3, 4, 9)),
    "3d": (lambda: nn.Conv3d(2, 3, 2, stride=2), (2, 2, 4, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1), (3, 4, 5, 5)),
    "transposed grouped": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), (3, 4, 5, 5)
    ),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 6, 4, stride=2), (3, 4, 5)),
}  # fmt: skip


def made(name: str) -> tuple[QuantizedLayer, Tensor]:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer = QuantizedLayer(build().double(), bits=3)
    layer.calibrate(kind="minmax", norm=2, candidates=2)
    return layer, torch.randn(shape, dtype=torch.float64) + 0.3


@pytest.fixture(params=["whole", "in parts"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in parts":
        monkeypatch.setattr("mrecg.quant.layer_rows.LARGEST", 4)
    return str(request.param)


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_patches_are_the_output(name: str, limit: str) -> None:
    layer, x = made(name)
    at = Arrangement.of(layer)
    assert (at.parts > 1) == (limit == "in parts" and at.inputs > 4)
    rows = at.rows(layer.reference)
    out = torch.einsum("gok,ngkp->ngop", rows, at.patches(x))
    out = out.unflatten(1, (at.groups, at.parts)).sum(2)
    plain = layer.layer(x)
    bias = layer.layer.bias
    plain = plain - (bias if isinstance(layer.layer, nn.Linear) else bias.view(-1, *[1] * (x.dim() - 2)))
    torch.testing.assert_close(out, at.positions(plain))
    assert torch.equal(at.weight(rows), layer.reference)
    assert at.grids().shape == rows.shape[:2]
    scales = layer.grid[0].expand_as(layer.reference)  # each row has the scale of its grid
    assert torch.equal(at.rows(scales)[:, :, 0], layer.scale.flatten()[at.grids()])


@pytest.mark.parametrize("name", LAYERS)
def test_the_error_by_moments_is_that_of_the_output(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrecg.quant.input_moments._WORK", 1)  # image by image
    monkeypatch.setattr("mrecg.quant.input_moments.damped", lambda moments: moments)
    layer, x = made(name)
    target = layer.layer(x)
    moments = Moments(layer)
    for part in x.split(2):
        moments.add(part, moments.arrangement.positions(layer.layer(part)))
    at = moments.arrangement
    found = Solution(layer.scale.flatten(), layer.zero_point.flatten(), at.rows(layer.integers.double()))
    errors = at.positions(layer(x) - target)
    for centred in (False, True):
        by_moments = output_error(moments.problem(at.rows(layer.reference), centred=centred), found)
        mean = errors.mean((0, 3), keepdim=True) if centred else 0
        torch.testing.assert_close(by_moments, (errors - mean).square().mean((0, 3)))
    mean, variance = moments.target()
    wanted = at.positions(target)
    torch.testing.assert_close(mean, wanted.mean((0, 3)))
    torch.testing.assert_close(variance, wanted.var((0, 3), correction=0))
    # Least squares of the output on the inputs are the weights.
    cross = moments.cross(centred=True)
    weights = torch.linalg.lstsq(moments.matrix(centred=True), cross, driver="gelsd").solution
    torch.testing.assert_close(
        moments.matrix(centred=True) @ weights, moments.matrix(centred=True) @ at.rows(layer.reference).mT
    )


@pytest.mark.parametrize("name", ["1x1 strided", "dense", "dilated, same", "depthwise", "transposed"])
def test_of_many_positions_some_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrecg.quant.layer_rows.POSITIONS", 2)
    layer, x = made(name)
    at = Arrangement.of(layer)
    skip, out = at.skip(x), layer.layer(x) - layer.layer.bias.view(-1, 1, 1)
    assert skip > 1 or name == "transposed"
    kept = at.positions(out, skip)
    assert kept.shape[3] >= 2
    torch.testing.assert_close(torch.einsum("gok,ngkp->ngop", at.rows(layer.reference), at.patches(x)), kept)


def test_what_is_found_is_put_into_the_layer() -> None:
    for name in ("depthwise", "dense", "transposed grouped", "linear"):
        layer, x = made(name)
        before = layer.state_dict()
        moments = Moments(layer)
        moments.add(x)
        at = moments.arrangement
        same = Solution(layer.scale.flatten(), layer.zero_point.flatten(), at.rows(layer.integers.double()))
        moments.take(same)
        assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
        moments.take(Solution(same.scale * 2, same.zero_point, same.integers))
        torch.testing.assert_close(layer.hard, layer.integers.double().sub(layer.grid[1]) * layer.grid[0])


def test_one_grid_for_the_whole_weight() -> None:
    layer = QuantizedLayer(nn.Conv2d(4, 6, 3, groups=2), bits=4, per_tensor=True)
    at = Arrangement.of(layer)
    assert (at.grids() == 0).all() and at.grids().shape == (2, 3)


@pytest.mark.parametrize("name", ["depthwise", "1x1", "linear of tokens"])
def test_the_sums_of_processes_add_up(name: str) -> None:
    layer, x = made(name)
    whole, parts = Moments(layer), [Moments(layer), Moments(layer), Moments(layer)]
    at = whole.arrangement
    whole.add(x, at.positions(layer.layer(x)))
    for part, images in zip(parts, x.split([1, 0, len(x) - 1]), strict=True):  # one has no images
        if len(images):
            part.add(images, at.positions(layer.layer(images)))
    for into, *others in zip(*(part.tensors for part in parts), strict=True):
        for other in others:
            into.add_(other)
    for centred in (False, True):
        torch.testing.assert_close(parts[0].matrix(centred=centred), whole.matrix(centred=centred))
        torch.testing.assert_close(parts[0].cross(centred=centred), whole.cross(centred=centred))
    assert all(map(torch.allclose, parts[0].target(), whole.target()))
