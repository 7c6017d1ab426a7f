"""By what right the command line asks: environment, stored key, dev mode, operator key."""

import json
from pathlib import Path

import pytest

from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import KEY, Asked, StandIn, made_key, me, page, refusal

NEW_KEY = "bt_new_key_after_the_first_was_forgotten"
OPERATOR = "operator_key_of_this_machine_0123456789"


@pytest.fixture
def here(baton: Baton, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Baton:
    """At the stand-in, without a key."""
    monkeypatch.setenv("BATON_URL", standin.url)
    standin.answers["GET /api/runs"] = (200, page())
    return baton


def stored(nobody: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((nobody / "keys.json").read_text())
    return found


def be_operator(nobody: Path, mode: int = 0o600) -> None:
    home = nobody.parents[1] / "home"
    home.mkdir(exist_ok=True)
    path = home / "secrets.json"
    path.touch(mode)
    path.write_text(json.dumps({"operator_key": OPERATOR}))


def only_for(key: str) -> "object":
    def answer(asked: Asked) -> tuple[int, object]:
        return (200, page()) if asked.key == key else refusal(Code.NOT_SIGNED_IN)

    return answer


def test_in_dev_mode_one_is_signed_in_without_a_word(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    standin.be_in_dev_mode()
    assert here("runs").status == 0
    assert standin.asked[1].body == {"email": "ada@localhost"}
    assert stored(nobody)[standin.url]["key"] == KEY
    assert "POST /auth/logout" in standin.paths()
    assert standin.asked[-1].key == KEY

    standin.asked.clear()
    assert here("runs").status == 0
    assert standin.paths() == ["GET /api/runs"]


def test_a_key_that_a_new_gateway_does_not_know_is_renewed_in_dev_mode(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    standin.be_in_dev_mode()
    here("runs")
    standin.be_in_dev_mode(NEW_KEY)
    standin.answers["GET /api/runs"] = only_for(NEW_KEY)  # type: ignore[assignment]
    assert here("runs").status == 0
    assert stored(nobody)[standin.url]["key"] == NEW_KEY
    assert standin.asked[-1].key == NEW_KEY


def test_a_key_that_stays_refused_is_told(here: Baton, standin: StandIn) -> None:
    standin.be_in_dev_mode()
    standin.answers["GET /api/runs"] = refusal(Code.NOT_SIGNED_IN)
    assert here("runs").status == 1
    result = here("runs")
    assert result.status == 1
    assert "baton login" in result.err


def test_the_environment_comes_before_all_else(
    here: Baton, standin: StandIn, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_operator(nobody)
    monkeypatch.setenv("BATON_API_KEY", KEY)
    assert here("runs").status == 0
    assert [asked.key for asked in standin.asked] == [KEY]
    assert not nobody.exists()


def test_without_any_right_the_way_in_is_told(here: Baton, standin: StandIn) -> None:
    result = here("runs")
    assert result.status == 1
    assert f"not signed in at {standin.url}" in result.err
    assert "keys create" in result.err


def test_on_the_machine_itself_the_operator_key_serves(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    be_operator(nobody)
    result = here("runs")
    assert result.status == 0
    assert standin.asked[-1].key == OPERATOR
    assert OPERATOR not in result.out + result.err


def test_an_operator_key_that_others_can_read_is_refused(here: Baton, nobody: Path) -> None:
    be_operator(nobody, 0o644)
    result = here("runs")
    assert result.status == 1
    assert "can be read by others" in result.err


def test_what_only_admins_may_do_falls_back_on_the_operator_key(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    standin.be_in_dev_mode()
    here("runs")
    be_operator(nobody)
    made = {"email": "bob@example.com", "url": f"{standin.url}/auth/invite#t", "expiresAt": "soon"}
    standin.answers["POST /api/invites"] = (201, made)
    result = here("invite", "bob@example.com")
    assert result.status == 0
    assert result.out.splitlines()[-1] == f"{standin.url}/auth/invite#t"
    assert standin.asked[-1].key == OPERATOR


def test_an_admins_own_key_comes_before_the_operators(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    standin.be_in_dev_mode()
    here("runs")
    be_operator(nobody)
    standin.answers["GET /api/me"] = (200, me("ada@localhost", admin=True))
    standin.answers["POST /api/invites"] = refusal(Code.BAD_INPUT, "email: no address.")
    result = here("invite", "bob")
    assert result.status == 1
    assert "email: no address." in result.err
    assert standin.asked[-1].key == KEY


def test_who_is_no_admin_is_told_what_to_do(here: Baton, standin: StandIn) -> None:
    standin.be_in_dev_mode()
    standin.answers["POST /api/invites"] = refusal(Code.FORBIDDEN, "Only admins may do this.")
    result = here("invite", "bob@example.com")
    assert result.status == 1
    assert "Only admins may do this." in result.err
    assert "set BATON_HOME to the folder of its secrets.json" in result.err


def test_login_in_dev_mode_takes_any_address(here: Baton, standin: StandIn, nobody: Path) -> None:
    standin.be_in_dev_mode()
    result = here("login", "--email", "bob@example.com")
    assert result.status == 0
    assert standin.asked[1].body == {"email": "bob@example.com"}
    assert stored(nobody)[standin.url]["dev"] is True


def test_login_elsewhere_takes_a_key_and_tries_it(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    result = here("login", stdin=f"{KEY}\n")
    assert result.status == 0
    assert result.out == f"Signed in at {standin.url} as ada@example.com.\n"
    assert stored(nobody)[standin.url] == {
        "key": KEY,
        "email": "ada@example.com",
        "id": None,
        "dev": False,
    }


def test_login_says_so_where_the_environment_comes_first(
    here: Baton, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_API_KEY", KEY)
    standin.be_in_dev_mode()
    assert "BATON_API_KEY is set" in here("login").err


@pytest.mark.parametrize("given", ["", "\n", "no key at all\n"])
def test_login_without_a_key_is_wrong_usage(here: Baton, nobody: Path, given: str) -> None:
    assert here("login", stdin=given).status == 2
    assert not nobody.exists()


def test_login_with_a_wrong_key_stores_nothing(here: Baton, standin: StandIn, nobody: Path) -> None:
    standin.answers["GET /api/me"] = refusal(Code.NOT_SIGNED_IN)
    assert here("login", stdin=f"{KEY}\n").status == 1
    assert not nobody.exists()


def test_login_by_e_mail_on_the_machine_itself_has_a_key_made(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    be_operator(nobody)
    standin.answers["POST /api/keys"] = (201, made_key(KEY, "bob@example.com"))
    assert here("login", "--email", "bob@example.com").status == 0
    assert stored(nobody)[standin.url]["email"] == "bob@example.com"
    assert standin.asked[-1].key == OPERATOR


def test_login_by_e_mail_elsewhere_is_refused_in_words(here: Baton) -> None:
    result = here("login", "--email", "bob@example.com")
    assert result.status == 1
    assert "own machine" in result.err


def test_a_new_login_revokes_the_key_of_the_one_before(here: Baton, standin: StandIn) -> None:
    standin.be_in_dev_mode()
    here("login")
    standin.be_in_dev_mode(NEW_KEY)
    standin.answers["DELETE /api/keys/k1"] = (204, None)
    assert here("login").status == 0
    assert (standin.asked[-1].method, standin.asked[-1].key) == ("DELETE", KEY)


def test_logout_revokes_and_forgets(here: Baton, standin: StandIn, nobody: Path) -> None:
    standin.be_in_dev_mode()
    here("login")
    standin.answers["DELETE /api/keys/k1"] = (204, None)
    result = here("logout")
    assert result.out == f"Signed out of {standin.url}.\n"
    assert stored(nobody) == {}
    assert here("logout").out == f"No key is stored for {standin.url}.\n"


def test_logout_forgets_also_where_the_gateway_is_away(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    standin.be_in_dev_mode()
    here("login")
    standin.answers["DELETE /api/keys/k1"] = refusal(Code.UNAVAILABLE)
    result = here("logout")
    assert result.status == 0
    assert "could not be revoked" in result.out
    assert stored(nobody) == {}


def test_a_broken_file_of_keys_is_told_and_left_alone(here: Baton, nobody: Path) -> None:
    nobody.mkdir(parents=True)
    (nobody / "keys.json").write_text("{half")
    (nobody / "keys.json").chmod(0o600)
    result = here("runs")
    assert result.status == 1
    assert "is not a file of keys" in result.err
    assert (nobody / "keys.json").read_text() == "{half"


def test_a_file_of_keys_open_to_others_is_closed_with_a_word(
    here: Baton, standin: StandIn, nobody: Path
) -> None:
    standin.be_in_dev_mode()
    here("login")
    (nobody / "keys.json").chmod(0o640)
    result = here("runs")
    assert result.status == 0
    assert "could be read by others" in result.err
    assert (nobody / "keys.json").stat().st_mode & 0o777 == 0o600
