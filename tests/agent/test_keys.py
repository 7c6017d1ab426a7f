import pytest

from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import KEY, StandIn, listed_key, made_key, me, page, refusal


def test_the_key_is_the_last_line_and_alone_on_standard_output(
    known: Baton, standin: StandIn
) -> None:
    standin.answers["POST /api/keys"] = (201, made_key(KEY))
    result = known("keys", "create", "--name", "ci", "--expires-days", "30")
    assert result.status == 0
    assert result.out == f"{KEY}\n"
    assert KEY not in result.err
    assert standin.asked[-1].body == {"name": "ci", "expiresInDays": 30.0}


def test_a_key_whose_callers_stop_what_they_leave(known: Baton, standin: StandIn) -> None:
    standin.answers["POST /api/keys"] = (201, made_key(KEY))
    assert known("keys", "create", "--cancel-on-disconnect").status == 0
    assert standin.asked[-1].body == {"name": "", "cancelOnDisconnect": True}
    key = listed_key("ada@example.com", "k") | {"cancelOnDisconnect": True}
    standin.answers["GET /api/keys"] = (200, page(key))
    assert "cancels" in known("keys", "list").out


def test_in_dev_mode_a_key_is_made_as_its_owner(known: Baton, standin: StandIn) -> None:
    standin.be_in_dev_mode()
    result = known("keys", "create", "--email", "eve@example.com")
    assert result.out.splitlines()[-1] == KEY
    assert standin.paths() == [
        "GET /auth/ways",
        "POST /auth/dev-login",
        "POST /api/keys",
        "POST /auth/logout",
    ]
    assert standin.asked[1].body == {"email": "eve@example.com"}


def test_elsewhere_a_key_for_somebody_is_asked_for_by_e_mail(
    known: Baton, standin: StandIn
) -> None:
    standin.answers["POST /api/keys"] = (201, made_key(KEY, "eve@example.com"))
    assert known("keys", "create", "--email", "eve@example.com").status == 0
    assert standin.asked[-1].body == {"name": "", "email": "eve@example.com"}


def test_a_key_for_somebody_else_needs_an_admin(known: Baton, standin: StandIn) -> None:
    standin.answers["POST /api/keys"] = refusal(Code.FORBIDDEN, "Only admins make such keys.")
    result = known("keys", "create", "--email", "eve@example.com")
    assert result.status == 1
    assert "Only admins make such keys." in result.err


def test_as_json_a_key_comes_with_all_about_it(known: Baton, standin: StandIn) -> None:
    standin.answers["POST /api/keys"] = (201, made_key(KEY))
    assert known("keys", "create", "--json").json["key"] == KEY


def test_keys_are_listed_with_their_state(known: Baton, standin: StandIn) -> None:
    revoked = listed_key("ada@localhost", "k2") | {"revokedAt": "2026-01-02T03:04:05Z"}
    expired = listed_key("ada@localhost", "k3") | {"expiresAt": "2026-01-02T03:04:05Z"}
    later = listed_key("ada@localhost", "k4") | {"expiresAt": "2999-01-02T03:04:05Z"}
    lists = page(listed_key("ada@localhost", "k1"), revoked, expired, later)
    standin.answers["GET /api/keys"] = (200, lists)
    result = known("keys")
    for word in ("valid", "revoked", "expired", "ends in"):
        assert word in result.out
    assert known("keys", "list", "--json").json == lists


def test_everybodys_keys_are_for_admins(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/keys"] = refusal(Code.FORBIDDEN, "Only admins see them.")
    result = known("keys", "list", "--all")
    assert result.status == 1
    assert "set BATON_HOME" in result.err
    assert standin.asked[-1].query["everybody"] == "true"


def test_a_key_is_revoked_by_its_id(known: Baton, standin: StandIn) -> None:
    standin.answers["DELETE /api/keys/k1"] = (204, None)
    assert known("keys", "revoke", "k1").out == "Revoked k1.\n"


@pytest.mark.parametrize("given", ["bt_Zq3kT8", "bt_Zq3k", "bt_Zq3kT8_and_the_rest_of_the_key"])
def test_a_key_is_revoked_by_how_it_begins(known: Baton, standin: StandIn, given: str) -> None:
    keys = page(listed_key("a@b", "k1"), listed_key("a@b", "k7", shown="bt_Zq3kT8"))
    standin.answers["GET /api/keys"] = (200, keys)
    standin.answers["GET /api/me"] = (200, me("a@b", admin=True))
    standin.answers["DELETE /api/keys/k7"] = (204, None)
    result = known("keys", "revoke", given)
    assert result.out == "Revoked k7.\n"
    assert "rest_of_the_key" not in result.err


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ("bt_", 2, "At least the first 6 characters"),
        ("bt_nothing", 1, "begins so.\n`baton keys` lists them."),
        ("bt_AAAAAA", 1, "Several keys"),
        ("k9", 1, "nothing by this id"),
    ],
)
def test_what_is_not_one_key_is_not_revoked(
    known: Baton, standin: StandIn, given: str, status: int, words: str
) -> None:
    keys = page(listed_key("a@b", "k1"), listed_key("a@b", "k2"))
    standin.answers["GET /api/keys"] = (200, keys)
    result = known("keys", "revoke", given)
    assert result.status == status
    assert words in result.err
    assert not any(path.startswith("DELETE /api/keys/k1") for path in standin.paths())
