import pytest
import torch
import torch.nn.functional as F
from brought import SHAPE, images, network
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from mrecg.errors import GraphError
from mrecg.graph.cut import cut


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return (weight + weight.flip(-1)) / 2


class Kernel(nn.Module):
    """A layer that is no class of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1)


def parametrised() -> nn.Module:
    net, own = network(), Kernel()
    parametrizations.weight_norm(net[0])
    parametrizations.spectral_norm(net[3])
    parametrize.register_parametrization(net[3], "bias", nn.Softplus())
    parametrize.register_parametrization(net[1], "weight", nn.Softplus())
    parametrizations.orthogonal(net[7])
    parametrize.register_parametrization(own, "kernel", Symmetric())
    return nn.Sequential(own, net)


@torch.no_grad()
def test_parametrised_weights_are_plain() -> None:
    model = parametrised()
    model.train()(images())  # moves what spectral_norm keeps
    found = cut(model, input_shape=SHAPE)
    torch.testing.assert_close(found.graph(images()), model.eval()(images()), rtol=1e-4, atol=1e-5)
    assert found.notes == (
        "weights that parametrisations compute are plain weights: 0.kernel, 1.0.weight, 1.1.weight, "
        "1.3.weight, 1.3.bias and 1 more",
    )
    assert type(found.graph.get_submodule("1.3")) is nn.Conv2d
    assert parametrize.is_parametrized(model[1][3]), "the user's model was changed"
    assert len(cut(model).units) == len(found.units)


class Noise(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.randn_like(weight)


class Broken(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight if torch.is_grad_enabled() or weight.requires_grad else self.missing


def test_a_weight_that_is_drawn_is_refused() -> None:
    net = network()
    parametrize.register_parametrization(net[3], "weight", Noise())
    with pytest.raises(GraphError, match="draws at random"):
        cut(net, input_shape=SHAPE)


def test_a_parametrisation_that_fails_is_named() -> None:
    net = network()
    parametrize.register_parametrization(net[3], "weight", Broken())
    with pytest.raises(GraphError, match=r"^3: the parametrisation of weight fails: "):
        cut(net)


def test_a_weight_that_is_an_attribute_or_missing() -> None:
    net = network()
    weight = net[3].weight.detach()
    del net[3]._parameters["weight"]
    with pytest.raises(GraphError, match=r"^3 \(Conv2d\) has no weight before it is called"):
        cut(net)
    net[3].weight = weight
    assert "3" in [layer for unit in cut(net, input_shape=SHAPE).units for layer in unit.layers]
