"""Images as user programs have them: the same ones in, whatever they come in."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from brought import images
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from mrecg.config.inputs import DataConfig
from mrecg.data.batches import Keys
from mrecg.data.given import Wanted, calibration_of
from mrecg.data.given_labels import evaluation_of
from mrecg.errors import DataError

X, Y = images(20), torch.arange(20) % 5
PAIRS = TensorDataset(X, Y)


class Dicts(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": index, "pixel_values": X[index], "label": int(Y[index])}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(X, Y, strict=True))


class Own(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter([(X[:15], Y[:15]), (X[15:], Y[15:])])


def uneven(items: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    return {"image": torch.stack([image for image, _ in items]), "target": [int(y) for _, y in items]}


BATCHES: list[tuple[Tensor, Tensor]] = [(X[:8], Y[:8]), (X[8:], Y[8:])]
WITH_LABELS: dict[str, Callable[[], Any]] = {
    "dataset": lambda: PAIRS,
    "dicts": Dicts,
    "subset": lambda: Subset(PAIRS, range(20)),
    "loader": lambda: DataLoader(PAIRS, 6),
    "loader of dicts": lambda: DataLoader(Dicts(), 6),
    "loader with a collate function": lambda: DataLoader(PAIRS, 6, collate_fn=uneven),
    "loader of single items": lambda: DataLoader(PAIRS, batch_size=None),
    "loader of a stream": lambda: DataLoader(Stream(), 6),
    "loader of its own kind": lambda: Own(PAIRS),
    "stream": Stream,
    "batches": lambda: BATCHES,
    "lists": lambda: [[x, y] for x, y in BATCHES],
    "generator": lambda: iter(BATCHES),
    "items": lambda: list(zip(X, Y.tolist(), strict=True)),
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.double().numpy(), Y.numpy()),
}
ALONE: dict[str, Callable[[], Any]] = {
    "tensor": lambda: X,
    "array": lambda: X.double().numpy(),
    "views": lambda: X.numpy()[:, ::-1][:, ::-1],
    "dict": lambda: {"x": X},
    "tuple of batches": lambda: X.split(8),
    "images with their masks": lambda: (X, X[:, :1]),
    "images": lambda: list(X),
    "batches": lambda: list(X.split(3)),
    "unstacked batches": lambda: [list(X[:9]), list(X[9:])],
    "function": lambda: lambda: X.split(3),
    "function that yields": lambda: lambda: (x for x in X),
    "arrays": lambda: [x.numpy() for x in X],
}


def drawn(given: Any, count: Any = None, seed: int = 0, **keys: Any) -> Tensor:
    return calibration_of(given, Wanted(count=count, seed=seed, keys=Keys(**keys)))[0]


@pytest.mark.parametrize("kind", [*WITH_LABELS, *ALONE])
def test_all_images_of_every_kind_are_the_same(kind: str) -> None:
    found, record = calibration_of({**ALONE, **WITH_LABELS}[kind](), Wanted(count=None, seed=0, keys=Keys()))
    assert torch.equal(found, X) and found.dtype is torch.float32
    assert record.images == record.available == 20 and record.seed is None


@pytest.mark.parametrize("kind", ["dataset", "dicts", "loader", "loader of dicts", "items"])
def test_a_draw_follows_from_its_seed_alone(kind: str) -> None:
    make = WITH_LABELS[kind]
    torch.manual_seed(1)
    one = calibration_of(make(), Wanted(count=7, seed=3, keys=Keys()))
    torch.manual_seed(2)
    other = calibration_of(make(), Wanted(count=7, seed=3, keys=Keys()))
    assert one[1] == other[1] and one[1].seed == 3 and len(one[1].names) == 7
    assert torch.equal(one[0], X[list(map(int, one[1].names))])
    assert torch.equal(one[0], drawn(PAIRS, 7, seed=3))
    assert not torch.equal(one[0], drawn(make(), 7, seed=4))


def test_a_shuffling_loader_changes_nothing_and_keeps_its_generator() -> None:
    own = torch.Generator().manual_seed(9)
    loader = DataLoader(PAIRS, 6, shuffle=True, generator=own)
    before, state = torch.get_rng_state(), own.get_state()
    assert torch.equal(drawn(loader, 7, seed=3), drawn(PAIRS, 7, seed=3))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(own.get_state(), state)
    some = DataLoader(PAIRS, 4, sampler=RandomSampler(PAIRS, num_samples=8))
    assert len(drawn(some)) == 8 and torch.equal(drawn(some), drawn(some))


def test_what_a_data_set_draws_is_seeded() -> None:
    class Noisy(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Tensor:
            return X[index] + torch.randn(1) + float(np.random.rand())

    for given in (Noisy(), DataLoader(Noisy(), 2), DataLoader(Noisy(), 2, shuffle=True)):
        assert torch.equal(drawn(given), drawn(given)) and not torch.equal(drawn(given), drawn(given, seed=1))


def test_of_what_has_no_length_the_first_are_taken() -> None:
    def endless() -> Iterator[Tensor]:
        while True:
            yield X[:3]

    assert drawn(endless).shape[0] == 512 and torch.equal(drawn(endless(), 4), torch.cat([X[:3], X[:1]]))
    with pytest.raises(DataError, match="50 images are asked for, and there are 20"):
        drawn(iter(X.split(3)), 50)
    with pytest.raises(DataError, match=r"50 images are asked for, and there are 20; set .*=20"):
        drawn(PAIRS, 50)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("val", "'val' is a path; open it"),
        (Dicts, "Dicts is a class; pass an object of it"),
        (nn.Identity(), "Identity is a module, and holds no images"),
        (3, "int holds no images; give a tensor or array"),
        (lambda n: n, "the function cannot be called without arguments"),
        ([], "there are no images"),
        (iter([]), "there are no images; was the iterator used before"),
        (DataLoader(PAIRS, 30, drop_last=True), "gives no batch; see its batch_size and drop_last"),
        (X[0], r"wants a tensor of shape \(N, C, H, W\) with N >= 1, got \(3, 16, 16\)"),
        ([X[:2], torch.zeros(2, 3, 8, 8)], r"batch 1 has images of shape \(3, 8, 8\), those before it of"),
        ([X[0], torch.zeros(3, 8, 8)], r"item 1 has images of shape \(3, 8, 8\)"),
        ([{"a": X, "b": X}], "the keys a, b, and 2 of them could be images; give image_key"),
        ([{"a": 1}], "the keys a, and none of them holds an image"),
        ([Image.new("RGB", (4, 4))], "item 0 is a PIL image; give its data set a transform"),
        ([torch.zeros(2, 3, 4, 4).byte()], "is of type uint8, not floating point"),
        ((X, X), "a pair of equal tensors may be two batches, or images and their targets"),
        ([None], "is of type NoneType, not floating point"),
        (np.array([[[["a"]]]], dtype=object), "is an array that torch does not take"),
        (X.numpy().astype(">f4"), "is an array that torch does not take: .*byte order"),
        ([torch.full((1, 3, 4, 4), torch.nan)], "1 of 1 images hold NaN or infinite values"),
    ],
)
def test_what_are_no_calibration_images_is_said_in_a_line(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as found:
        drawn(given)
    assert "\n" not in str(found.value)


class Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        if index == 4:
            raise OSError("image file is truncated")
        return X[index], 0


@pytest.mark.parametrize("workers", [None, 0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_item_that_cannot_be_read_is_named(workers: int | None) -> None:
    given: Any = Broken() if workers is None else DataLoader(Broken(), 2, num_workers=workers)
    where = "item 4" if workers is None else "batch 2"
    for name, read in (("calibration", drawn), ("evaluation", lambda each: [*batches(each)])):
        with pytest.raises(
            DataError, match=rf"{name} {where} cannot be read: OSError: image file is"
        ) as found:
            read(given)
        assert "\n" not in str(found.value)


def batches(given: Any, config: DataConfig | None = None, **keys: Any) -> list[tuple[Tensor, Tensor]]:
    found, metric = evaluation_of(given, config or DataConfig(batch_size=7), Keys(**keys))
    assert found is not None and metric is None
    once, twice = list(found.batches()), list(found.batches())
    assert all(
        torch.equal(a, b) for one, two in zip(once, twice, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert len(found) == sum(len(labels) for _, labels in once)
    return once


@pytest.mark.parametrize("kind", WITH_LABELS)
def test_every_kind_evaluates_on_the_same_images_and_labels(kind: str) -> None:
    found = batches(WITH_LABELS[kind]())
    assert torch.equal(torch.cat([x for x, _ in found]), X) and torch.equal(
        torch.cat([y for _, y in found]), Y
    )


def test_a_shuffling_loader_gives_one_order_in_both_passes() -> None:
    found = batches(DataLoader(PAIRS, 6, shuffle=True))
    order = torch.cat([x for x, _ in found])
    assert not torch.equal(order, X)
    assert all(torch.equal(X[(x == X).flatten(1).all(1)][0], x) for x in order)

    orders = []
    for numbers in ([*range(20)], np.arange(20), torch.arange(20)):  # the last two give no numbers of Python
        sampler: Any = SubsetRandomSampler(numbers)  # type: ignore[arg-type]
        orders.append(torch.cat([x for x, _ in batches(DataLoader(PAIRS, 6, sampler=sampler))]))
    assert not torch.equal(orders[0], X) and all(torch.equal(other, orders[0]) for other in orders)

    class Restless(Stream):
        def __iter__(self) -> Any:
            order = torch.randperm(20)
            return iter(zip(X[order], Y[order], strict=True))

    with pytest.raises(DataError, match="each pass gives its images in another order; turn off shuffling"):
        batches(DataLoader(Restless(), 6))


def test_some_of_the_evaluation_images_are_drawn() -> None:
    config = DataConfig(batch_size=4, evaluation_images=6, seed=2)
    one, other = batches(PAIRS, config), batches(DataLoader(PAIRS, 5), config)
    assert torch.equal(torch.cat([x for x, _ in one]), torch.cat([x for x, _ in other]))
    assert sum(len(y) for _, y in one) == 6
    with pytest.raises(DataError, match=r"data.evaluation_images: goes with a Dataset, or with a DataLoader"):
        batches(BATCHES, config)


def test_keys_name_what_is_meant() -> None:
    given = [{"a": X, "b": X + 1, "kind": Y, "label": Y + 1}]
    ((x, y),) = batches(given, image="b", label="kind")
    assert torch.equal(x, X + 1) and torch.equal(y, Y)
    triple = [(torch.arange(20), X, Y)]
    ((x, y),) = batches(triple, image=1, label=2)
    assert torch.equal(x, X) and torch.equal(y, Y)
    with pytest.raises(DataError, match="has no key 'c'; image_key is one of a, b, kind, label"):
        drawn(given, image="c")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X, r"a tensor alone has no labels; give the tuple \(images, labels\)"),
        (TensorDataset(X), "item 0 is tuple without labels"),
        (DataLoader(TensorDataset(X), 4), "batch 0 is list without labels"),
        (TensorDataset(X, torch.rand(20, 5)), r"labels of shape \(1, 5\), torch.float32; accuracy takes one"),
        ([(X, torch.rand(20))], r"labels of shape \(20,\), torch.float32"),
        ([(X, Y[:3])], r"labels of shape \(3,\)"),
        ([(X, ["cat"] * 20)], "labels list; accuracy takes one whole number"),
        ([{"image": X, "kind": Y}], "none of which is known for labels; give label_key"),
        (TensorDataset(X.byte(), Y), "an evaluation image is of type uint8, not floating point"),
        ((X, Y[:5]), "evaluation: 20 images have 5 labels"),
        ([], "evaluation: holds no image"),
        (DataLoader(PAIRS, 30, drop_last=True), "evaluation: holds no image"),
        (nn.Identity(), "Identity is a module"),
        ("val", "is a path"),
        (3, "int holds no images"),
        (
            lambda model, device: 1.0,
            "is called with the network alone: missing a required argument: 'device'",
        ),
    ],
)
def test_what_is_no_evaluation_is_said_in_a_line(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as found:
        batches(given)
    assert "\n" not in str(found.value)


def test_a_function_is_a_metric_and_nothing_is_nothing() -> None:
    def metric(model: nn.Module) -> float:
        return 1.0

    assert evaluation_of(metric, DataConfig(), Keys()) == (None, metric)
    assert evaluation_of(None, DataConfig(), Keys()) == (None, None)
