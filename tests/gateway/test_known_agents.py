"""Which agents count as served, by what runners said and when their leases ended."""

from datetime import timedelta

from gateway.store.agents import Announced, served

LIVES = timedelta(seconds=-3)
JUST_ENDED = timedelta(seconds=30)
LONG_AGO = timedelta(hours=3)


def runner(ended: timedelta, *agents: str, broken: str = "") -> Announced:
    return Announced({name: {} for name in agents}, {broken: "line 3"} if broken else {}, ended)


def test_living_runners_agents_count() -> None:
    assert list(served([runner(LIVES, "B"), runner(LIVES, "A")])) == ["A", "B"]


def test_a_deploy_makes_no_agent_unknown() -> None:
    assert list(served([runner(JUST_ENDED, "Old"), runner(LIVES, "New")])) == ["New", "Old"]


def test_what_only_a_runner_of_long_ago_served_is_unknown() -> None:
    assert list(served([runner(LONG_AGO, "Gone"), runner(LIVES, "Here")])) == ["Here"]


def test_without_any_runner_everything_waits_for_one() -> None:
    assert list(served([runner(LONG_AGO, "A")])) == ["A"]


def test_what_living_runners_could_not_load_is_unknown_at_once() -> None:
    assert list(served([runner(JUST_ENDED, "A", "B"), runner(LIVES, "B", broken="A")])) == ["B"]


def test_what_one_living_runner_serves_counts_though_another_could_not_load_it() -> None:
    assert list(served([runner(LIVES, "A"), runner(LIVES, "B", broken="A")])) == ["A", "B"]
