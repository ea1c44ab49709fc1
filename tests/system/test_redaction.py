import json

import pytest

from mrecg.errors import ConfigError
from mrecg.system.redaction import conceal, hide, is_masked, reveal, without_secrets
from mrecg.system.variables import SECRETS

URLS = [
    ("https://host/a.pth", "https://host/a.pth"),
    ("https://host:8080/npm/a@1.0/a.pth", "https://host:8080/npm/a@1.0/a.pth"),
    ("https://ann:pw@host/a.pth", "https://***@host/a.pth"),
    ("https://token@host:1/a.pth", "https://***@host:1/a.pth"),
    ("HTTPS://ann:p%40w@host/a.pth", "HTTPS://***@host/a.pth"),
    ("https://ann:p@w@host/a.pth", "https://***@host/a.pth"),
    ("https://ann:p/w@host/a.pth", "https://***@host/a.pth"),
    ("https://ann:p?w@host/a.pth", "https://***?***"),
    ("s3://key:secret@bucket/a.pth", "s3://***@bucket/a.pth"),
    ("https://host/a.pth?X-Sig=a%2Fb&v=&flag", "https://host/a.pth?X-Sig=***&v=&***"),
    ("https://host/a.pth?to=https://ann:pw@host/b", "https://host/a.pth?to=***"),
    ("https://host/a.pth#access_token=x", "https://host/a.pth#***"),
    ("https://[::1]:80/a.pth?k=v", "https://[::1]:80/a.pth?k=***"),
    ("https://host/a.pth?k=${oc.env:TOKEN}", "https://host/a.pth?k=${oc.env:TOKEN}"),
    ("https://${oc.env:U}:${oc.env:P}@${oc.env:HOST}/a", "https://${oc.env:U}:${oc.env:P}@${oc.env:HOST}/a"),
]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS, "{}")


@pytest.mark.parametrize(("url", "masked"), URLS)
def test_secrets_of_a_url_are_masked_and_come_back(url: str, masked: str) -> None:
    assert without_secrets(url) == masked == without_secrets(masked)
    assert conceal(url) == masked and reveal(masked) == url
    assert is_masked(masked) == (url != masked)
    for around in ("see {}, please", "model.checkpoint='{}'", "[{}]", '{{"a": "{}"}}', "({})."):
        assert without_secrets(around.format(url)) == around.format(masked)
        assert reveal(conceal(around.format(url))) == around.format(url)


def test_a_list_of_urls_stays_a_list() -> None:
    words = "model.checkpoint=https://h/a.pth?t=1,https://h/b.pth?t=2"
    assert conceal(words) == "model.checkpoint=https://h/a.pth?t=***,https://h/b.pth?t=***"
    nested = {"a": ["https://h/a?t=1", 3, {"b": ("https://u:p@h/b",)}]}
    masked = {"a": ["https://h/a?t=***", 3, {"b": ("https://***@h/b",)}]}
    assert conceal(nested) == masked and reveal(masked) == nested


def test_two_urls_never_share_a_mask() -> None:
    masked = [conceal(f"https://h/a.pth?t={i}") for i in (1, 2, 1)]
    assert masked == ["https://h/a.pth?t=***", "https://h/a.pth?t=***2", "https://h/a.pth?t=***"]
    assert [reveal(mask) for mask in masked] == [f"https://h/a.pth?t={i}" for i in (1, 2, 1)]
    assert conceal(masked[1]) == masked[1] == without_secrets(masked[1])


def test_a_mask_that_nobody_knows_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    conceal("https://h/a.pth?t=1")
    monkeypatch.setenv(SECRETS, json.dumps({}))
    assert reveal("https://h/a.pth?t=***") == "https://h/a.pth?t=***"


def test_a_secret_beside_an_interpolation_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"https://\*\*\*@h/a\?t=.*put the whole URL into the variable"):
        conceal("https://ann:canary@h/a?t=${oc.env:T}")


def test_what_a_library_quotes_is_hidden() -> None:
    url = "https://ann:can%61ry@host/a.pth?sig=canary&v=canary2"
    for said in (url, "nonnumeric port: 'canary'", "'/a.pth?sig=canary&v=canary2' (found ' ')", "can%61ry"):
        hidden = hide(f"no: {said}", url)
        assert "canary" not in hidden and "can%61ry" not in hidden and hidden.startswith("no: ")
    assert hide("HTTP Error 404: Not Found", url) == "HTTP Error 404: Not Found"
    assert hide("a/host of b", "https://host/b") == "a/host of b"
