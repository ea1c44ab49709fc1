import hashlib
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrecg.data.sampling import Draw, add_tensor, digest_of, draw, evenly
from mrecg.errors import DataError


@given(st.integers(1, 200), st.integers(0, 2**31), st.data())
def test_a_draw_is_ascending_without_repetition(available: int, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, available))
    chosen = draw(available, count, seed=seed, what="x")
    assert chosen == sorted(set(chosen)) == draw(available, count, seed=seed, what="x")
    assert len(chosen) == count and set(chosen) <= set(range(available))


def test_a_draw_is_the_same_for_ever() -> None:
    assert draw(10, 4, seed=0, what="") == [1, 4, 5, 7]
    assert draw(10, 4, seed=1, what="") == [1, 2, 5, 6]
    with pytest.raises(
        DataError, match=r"^data\.calibration_images: 5 images .* there are 4; set .*=4, or all for all$"
    ):
        draw(4, 5, seed=0, what="data.calibration_images")


def test_a_hash_covers_names_type_shape_and_values_but_no_memory_order() -> None:
    pixels = torch.arange(24, dtype=torch.float32).view(1, 2, 3, 4)
    base = digest_of(("a", "b"), pixels)
    stored = b"a\0b\0" + b"torch.float32 (1, 2, 3, 4)" + pixels.numpy().tobytes()
    assert base == hashlib.sha256(stored).hexdigest()
    assert base == digest_of(iter(("a", "b")), pixels.contiguous(memory_format=torch.channels_last))
    others = [
        digest_of(("ab",), pixels),
        digest_of(("b", "a"), pixels),
        digest_of(("a", "b"), pixels + 1),
        digest_of(("a", "b"), pixels.double()),
        digest_of(("a", "b"), pixels.view(1, 2, 4, 3)),
    ]
    assert len({base, *others}) == 6


def test_names_need_not_be_utf_8() -> None:
    name, label = os.fsdecode(b"\xe9.png"), torch.tensor([3])
    stored = b"\xe9.png\0" + b"torch.int64 (1,)" + label.numpy().tobytes()
    assert digest_of([name], label) == hashlib.sha256(stored).hexdigest()


def test_a_number_can_be_hashed() -> None:
    one, other = hashlib.sha256(), hashlib.sha256()
    add_tensor(one, torch.tensor(3))
    add_tensor(other, torch.tensor(4))
    assert one.hexdigest() != other.hexdigest()


def test_the_brief_record_leaves_the_names_out() -> None:
    record = Draw(images=1, available=9, seed=None, sha256="ab", names=("x/1.png",))
    assert record.brief() == {"images": 1, "available": 9, "seed": None, "sha256": "ab"}
    assert record.as_dict() == {**record.brief(), "names": ["x/1.png"]}


def test_images_of_the_whole_range_are_chosen() -> None:
    assert evenly(5, 8).tolist() == [0, 1, 2, 3, 4]
    chosen = evenly(1000, 64)
    assert len(chosen.unique()) == 64 and chosen[0] == 0 and chosen[-1] >= 980
    assert evenly(0, 4).tolist() == []
