from mrecg.models.weights_record import NOTED, Weights, as_named, unloaded

WEIGHTS = Weights(
    origin="a.pth",
    sha256="ab",
    key="model",
    match="order",
    tensors=3,
    mapping=(("a", "a"), ("b", "c"), ("x", "y")),
)


def test_facts_count_what_the_mapping_lists() -> None:
    facts = {"origin": "a.pth", "sha256": "ab", "key": "model", "match": "order", "tensors": 3, "renamed": 2}
    assert WEIGHTS.renamed == 2 and WEIGHTS.facts() == facts
    assert WEIGHTS.as_dict() == {**facts, "mapping": {"a": "a", "b": "c", "x": "y"}}


def test_the_note_shows_the_first_changes() -> None:
    assert WEIGHTS.note() == "weights: 3 tensors by order from a.pth (b -> c, x -> y)"
    many = tuple((f"{i}", f"own{i}") for i in range(NOTED + 1))
    notes = [
        Weights(origin="a.pth", sha256=None, key=None, match="name", tensors=9, mapping=mapping).note()
        for mapping in (many[:NOTED], many)
    ]
    shown = "weights: 9 tensors by name, renamed, from a.pth (0 -> own0, 1 -> own1, 2 -> own2"
    assert notes == [f"{shown})", f"{shown}, ...)"]


def test_own_names_need_no_note() -> None:
    found = as_named("embedded", iter("ab"), sha256="cd")
    assert found.mapping == (("a", "a"), ("b", "b")) and found.tensors == 2 and found.match == "name"
    assert found.note() is None and found.renamed == 0 and found.sha256 == "cd"


def test_weights_that_nobody_trained_are_announced() -> None:
    note = unloaded("random, seed 1", "ab").note()
    assert note is not None and note.startswith("weights: random, seed 1; model.checkpoint=FILE or ")
    assert as_named("random_init.pth", "ab", sha256=None).note() is None  # a file is not what it is called


def test_without_a_file_there_is_no_mapping() -> None:
    found = unloaded("python", iter("abc"))
    assert found.note() is None and found.as_dict() == {
        "origin": "python",
        "sha256": None,
        "key": None,
        "match": None,
        "tensors": 3,
        "renamed": 0,
        "mapping": {},
    }
