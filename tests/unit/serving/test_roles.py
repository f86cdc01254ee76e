import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from penstock.errors import UsageError
from penstock.settings import Settings
from serving.roles import ApiKeys, Caller, is_loopback, load_keys, presented_key, unkeyed_caller

KEY = "k" * 16
INTENT = {"x-requested-with": "curl", "host": "127.0.0.1:8000"}


def test_a_role_may_what_those_below_it_may() -> None:
    operator = Caller("otto", "operator")
    assert (operator.may("reader"), operator.may("operator"), operator.may("admin")) == (True, True, False)


def test_a_key_is_known_by_itself_or_by_its_digest() -> None:
    digest = hashlib.sha256(b"another key of a name").hexdigest()
    keys = ApiKeys([f"ann:admin:{KEY}", f"ann:admin:sha256:{digest}", "bob:reader:with:colons:in:it"])
    assert keys.identify(KEY.encode()) == Caller("ann", "admin")
    assert keys.identify(b"another key of a name") == Caller("ann", "admin")
    assert keys.identify(b"with:colons:in:it") == Caller("bob", "reader")
    assert [keys.identify(wrong) for wrong in (b"", KEY[:-1].encode(), digest.encode(), b"\xff" * 16)] == [None] * 4
    assert not ApiKeys()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("", "entry 1 does not begin with a name"),
        (":admin:" + KEY, "entry 1 does not begin with a name"),
        (f"ann:owner:{KEY}", "the role of ann is not one of reader, operator, admin"),
        ("ann:admin:short", "the key of ann has fewer than 16 characters"),
        ("ann:admin:sha256:" + "g" * 64, "the digest of ann is not sha256: and 64 hex digits"),
    ],
)
def test_a_wrong_entry_is_refused_without_telling_its_key(entry: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        ApiKeys([entry])
    assert KEY not in str(refused.value)


def test_one_name_has_one_role() -> None:
    with pytest.raises(UsageError, match="ann has keys of different roles"):
        ApiKeys([f"ann:admin:{KEY}", f"ann:reader:{KEY}x"])


def test_keys_are_read_from_the_settings_and_their_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\nbob:reader:sha256:{hashlib.sha256(b'b' * 20).hexdigest()}\n")
    keys = load_keys(Settings(api_keys=SecretStr(f"ann:admin:{KEY}, "), api_keys_file=file))
    assert repr(keys) == "ApiKeys(ann (admin), bob (reader))"
    with pytest.raises(UsageError, match="PENSTOCK_API_KEYS_FILE"):
        load_keys(Settings(api_keys_file=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": f"Bearer {KEY}"}, KEY.encode()),
        ({"authorization": f"bearer  {KEY} "}, KEY.encode()),
        ({"authorization": f"Basic {KEY}"}, None),
        ({"authorization": "Bearer "}, None),
        ({"x-api-key": KEY}, KEY.encode()),
        ({"x-api-key": "  "}, None),
        ({"x-api-key": "\xe9"}, b"\xe9"),
    ],
)
def test_a_key_comes_in_either_header(headers: dict[str, str], key: bytes | None) -> None:
    assert presented_key(headers) == key


@pytest.mark.parametrize(
    ("client", "host", "headers", "why"),
    [
        ("127.0.0.1", "127.0.0.1", INTENT, None),
        ("::1", "::1", {**INTENT, "host": "[::1]:8000"}, None),
        ("127.0.0.1", "localhost", {**INTENT, "host": "localhost"}, None),
        ("127.0.0.1", "127.0.0.1", {"host": "localhost"}, "X-Requested-With"),
        ("127.0.0.1", "127.0.0.1", {**INTENT, "host": "rebound.example"}, "under the name localhost"),
        ("127.0.0.1", "127.0.0.1", {"x-requested-with": "curl"}, "under the name localhost"),
        ("192.0.2.7", "127.0.0.1", INTENT, "this machine alone"),
        ("testclient", "127.0.0.1", INTENT, "this machine alone"),
        ("", "127.0.0.1", INTENT, "this machine alone"),
        ("127.0.0.1", "127.0.0.1", {**INTENT, "x-forwarded-for": "192.0.2.7"}, "this machine alone"),
        ("127.0.0.1", "127.0.0.1", {**INTENT, "forwarded": "for=192.0.2.7"}, "this machine alone"),
        ("127.0.0.1", "0.0.0.0", INTENT, "serving listens on 0.0.0.0"),  # noqa: S104 - it is what is refused
    ],
)
def test_without_keys_only_people_of_this_machine_change_anything(
    client: str, host: str, headers: dict[str, str], why: str | None
) -> None:
    caller = unkeyed_caller(headers, client, host)
    if why is None:
        assert caller == Caller("loopback", "admin")
    else:
        assert (caller.name, caller.role) == ("anonymous", "reader")
        assert why in caller.why_not_more


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example"])  # noqa: S104
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
