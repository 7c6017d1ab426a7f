"""URLs that name Sentinels."""

import pytest

from shared.bus.connect import commands_client
from shared.bus.sentinel import MasterConnection, MasterTlsConnection
from shared.bus.sentinel_url import parse_sentinel_url


def test_all_of_it_is_read() -> None:
    url = parse_sentinel_url(
        "rediss+sentinel://ada:p%40ss@one:1,[::1]:2,three/my.master-1/5"
        "?sentinel_username=watch&sentinel_password=s%26s&ssl_check_hostname=false"
    )
    assert url
    assert url.sentinels == (("one", 1), ("::1", 2), ("three", 26379))
    assert (url.service, url.tls) == ("my.master-1", True)
    assert url.credentials == {"username": "watch", "password": "s&s"}
    assert url.server == "rediss://ada:p%40ss@localhost/5?ssl_check_hostname=false"


def test_what_may_be_left_out() -> None:
    url = parse_sentinel_url("redis+sentinel://one/main")
    assert url
    assert (url.sentinels, url.service, url.tls) == ((("one", 26379),), "main", False)
    assert (url.credentials, url.server) == ({}, "redis://localhost/0")


@pytest.mark.parametrize("url", ["redis://one:1,two:2/0", "unix:///x", "one/main", ""])
def test_other_urls_are_none_of_these(url: str) -> None:
    assert parse_sentinel_url(url) is None


@pytest.mark.parametrize(
    "rest",
    ["", "one", "one/", "one//0", "one/main/x", "one,/main", "one:x/main", "one:99999/main"],
)
def test_a_wrong_one_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(ValueError, match="must look like") as refused:
        parse_sentinel_url(f"redis+sentinel://u:secret@{rest}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [("redis+sentinel", MasterConnection), ("rediss+sentinel", MasterTlsConnection)],
)
def test_connections_go_where_the_sentinels_say(scheme: str, kind: type) -> None:
    client = commands_client(f"{scheme}://ada:secret@one:1,two:2/main/3", "test")
    pool = client.connection_pool
    assert issubclass(pool.connection_class, kind)
    options = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("ada", "secret", 3)
    assert isinstance(kind(**options), MasterConnection)
