from pathlib import Path

import pytest

from mrecg.data.labels import class_names, read_table
from mrecg.errors import DataError

CLASSES = ["cat", "dog", "1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Empty files a.png to e.png; what is in them does not matter here."""
    (tmp_path / "val" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "d.png", "sub/e.png"):
        (tmp_path / "val" / name).touch()
    return tmp_path / "val"


def table(folder: Path, text: str) -> Path:
    path = folder.parent / "labels.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "classes", "labels"),
    [
        ("file,label\na.png,dog\nb.png,cat\n", None, [1, 0]),  # numbered as they sort
        ("file,label\na.png,dog\nb.png,cat\n", ["zebra", "dog", "cat"], [1, 2]),
        ("file,label\na.png,7\nb.png,0\n", None, [7, 0]),  # indices
        ("file,label\na.png,2\nb.png,dog\n", CLASSES, [2, 1]),  # names and indices
        ("file,label\na.png,1\nb.png,0\n", CLASSES, [2, 0]),  # a name before an index
        ("\ufefflabel, file ,more\r\n0, a.png,x\r\n\r\n3,b.png,y\r\n", None, [0, 3]),  # as spreadsheets write
        ('file,label\na.png,"dog, big"\nb.png,cat\n', None, [1, 0]),
        ("\nfile,label\n\na.png,0,more,cells\nb.png,1", None, [0, 1]),
        ("file,label\n./a.png,0\nb.png,+3\n", None, [0, 3]),
    ],
)
def test_labels_are_names_or_indices(
    text: str, classes: list[str] | None, labels: list[int], folder: Path
) -> None:
    assert read_table(table(folder, text), folder, classes)[0] == dict(
        zip(("a.png", "b.png"), labels, strict=True)
    )


def test_files_lie_below_the_folder(folder: Path) -> None:
    assert read_table(table(folder, "file,label\nsub/e.png,4\n"), folder, None) == ({"sub/e.png": 4}, None)


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("", None, r"has the columns none; wants file, label"),
        ("file,label\n", None, r"has no lines below its header"),
        ("name,class\na.png,1\n", None, r"has the columns name, class; wants file, label"),
        ("a.png,1\nb.png,2\n", None, r"has the columns a\.png, 1; wants file, label"),
        ("file,label\na.png,1\nx.png,2\n", None, r"line 3: 'x\.png' is no file in data\.evaluation_p.*val$"),
        ("file,label\na.png\n", None, r"line 2: has no label"),
        ("file,label\n,cat\n", None, r"line 2: has no file"),
        ("file,label\na.png,1\nb.png,1\na.png,2\n", None, r"line 4: 'a\.png' is on line 2, too"),
        ("file,label\na.png,1\n./a.png,2\n", None, r"line 3: '\./a\.png' is on line 2, too"),
        ("file,label\n/a.png,1\n", None, r"line 2: '/a\.png' is not right: give a path below"),
        ("file,label\n../labels.csv,1\n", None, r"line 2: '\.\./labels\.csv' is not right"),
        ("file,label\na.png,3\n", CLASSES, r"line 2: label 3 is out of range; give 0 to 2 or a class's name"),
        ("file,label\na.png,-1\n", CLASSES, r"line 2: label -1 is out of range; give 0 to 2"),
        ("file,label\na.png,-1\n", None, r"line 2: label -1 is out of range; give 0 or more"),
        ("file,label\na.png,1\nb.png,dig\n", CLASSES, r"line 3: label: 'dig' is not a choice .*'dog'"),
        ("file,label\na.png,cat\nb.png,1\n", None, r"line 2: label 'cat' is no index, .*line 3 has the"),
        ("file,label\na.png,1.0\nb.png,10.0\n", None, r"line 2: label '1\.0' is no name and no index"),
        ("file,label\na.png,1.0\n", CLASSES, r"line 2: label: '1\.0' is not a choice"),
        ('file,label\na.png,"cat\n', None, r"line 2: unexpected end of data"),
        ('file,label\n\na.png,1\nb.png,"cat\nc.png,3\n', None, r"line 4: unexpected end of data"),
        ('file,label\na.png,1\nb.png,"cat" x\nc.png,3\n', None, r"line 3: ',' expected after '\"'"),
        ('file,label,more\na.png,1,"x\ny"\n\nx.png,2\n', None, r"line 5: 'x\.png' is no file"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_is_an_error(
    text: str, classes: list[str] | None, message: str, folder: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_table(table(folder, text), folder, classes)
    assert str(caught.value).startswith(f"data.labels_path: {folder.parent / 'labels.csv'} ")
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_an_error(folder: Path) -> None:
    (path := folder / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"^data\.labels_path: .*labels\.csv is no text file in UTF-8"):
        read_table(path, folder, None)
    with pytest.raises(DataError, match=r"^data\.labels_path: .*val is no file"):
        read_table(folder, folder, None)
    with pytest.raises(DataError, match=r"^data\.classes_path: .*labels\.csv is no text file"):
        class_names(path)


def test_classes_come_from_sub_folders_or_lines(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / "folders" / name).mkdir(parents=True)
    (tmp_path / "folders" / "file").touch()
    assert class_names(tmp_path / "folders") == ["a", "b"]
    (tmp_path / "names.txt").write_text("\ufeff\n tench, Tinca \r\n\ngold\u2028fish\n", "utf-8")
    assert class_names(tmp_path / "names.txt") == ["tench, Tinca", "gold\u2028fish"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\n\na \n", r"^data\.classes_path: .*names\.txt line 4: 'a' is on line 1, too$"),
        ("\n \n", r"^data\.classes_path: .*names\.txt has no names$"),
    ],
)
def test_classes_that_are_wrong_are_errors(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        class_names(tmp_path / "names.txt")


@pytest.mark.parametrize("label", [str(2**31), str(2**63), "9" * 5000, "+" + "9" * 5000])
@pytest.mark.parametrize("classes", [None, CLASSES])
def test_a_label_of_absurd_size_is_one_line(label: str, classes: list[str] | None, folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: label .* is out of range") as error:
        read_table(table(folder, f"file,label\na.png,{label}\n"), folder, classes)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("column", ["file", "label"])
def test_two_columns_of_one_name_are_an_error(column: str, folder: Path) -> None:
    with pytest.raises(DataError, match=rf"has 2 columns {column}; rename all but the right one"):
        read_table(table(folder, f"file,label,{column}\na.png,0,1\n"), folder, None)


def test_a_name_that_no_file_can_have_is_no_file(folder: Path) -> None:
    with pytest.raises(DataError, match="is no file in data"):
        read_table(table(folder, f"file,label\n{'x' * 300},0\n"), folder, None)


def test_names_are_counted_and_numbers_are_not(folder: Path) -> None:
    assert read_table(table(folder, "file,label\na.png,dog\nb.png,cat\n"), folder, None)[1] == 2
    assert read_table(table(folder, "file,label\na.png,7\nb.png,0\n"), folder, None)[1] is None
    assert read_table(table(folder, "file,label\na.png,dog\n"), folder, ["dog", "cat", "cow"])[1] == 3
