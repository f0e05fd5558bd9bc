"""Queue settings as typed and as shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure import Retry
from tenure.cli.errors import CliError, Exit
from tenure.cli.settings import SETTINGS, parse_retry, parse_settings, show_retry, show_settings
from tenure.options import QueueSettings, encode_settings


def test_settings_are_read_with_units() -> None:
    words = ["lease=1m30s", "max_bytes=1GiB", "priority=high", "dlq=off", "retry=fixed:5s"]

    assert parse_settings(words) == {
        "lease": timedelta(seconds=90),
        "max_bytes": 1 << 30,
        "priority": 64,
        "dlq": False,
        "retry": Retry.fixed("5s"),
    }


def test_every_setting_of_the_client_can_be_given_and_is_sent_as_it_is_stored() -> None:
    values = {
        "lease": "1m",
        "max_attempts": "3",
        "retry": "fixed:1s",
        "priority": "7",
        "max_jobs": "9",
        "max_bytes": "1MiB",
        "retention": "1h",
        "ended_retention": "2h",
        "dead_retention": "3h",
        "dlq": "on",
        "poison_after": "2",
        "durability": "memory",
        "paused": "yes",
    }

    wire = encode_settings(parse_settings([f"{name}={value}" for name, value in values.items()]))

    assert set(values) == set(QueueSettings.__annotations__) == set(SETTINGS)
    assert set(wire) == {setting.wire for setting in SETTINGS.values()}


def test_a_setting_as_json_shows_it_is_read_too() -> None:
    assert parse_settings(["lease_ms=30000"]) == {"lease": timedelta(seconds=30)}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("leese=3s", 'no setting "leese"; did you mean "lease"?'),
        ("xyzzy=1", "there are: lease, max_attempts"),
        ("lease", "name=value"),
        ("lease=soon", "'soon' is not a duration"),
        ("max_attempts=many", "max_attempts must be a whole number"),
        ("max_attempts_ms=3", 'no setting "max_attempts_ms"'),
        ("priority=256", "priority must be 0"),
        ("dlq=maybe", "on or off"),
        ("durability=tape", "disk or memory"),
        ("retry=sometimes", "is not a retry policy"),
        ("retry=exponential:1s,x", "must be a number"),
        ("lease=999999999999d", "end some day"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(word: str, said: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_settings([word])

    assert said in str(caught.value)
    assert caught.value.exit_code == Exit.USAGE


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(CliError, match="twice"):
        parse_settings(["lease=1s", "lease=2s"])


@pytest.mark.parametrize(
    "text",
    ["exponential:1s,4,1h", "fixed:30s,jitter=0", "steps:5s,1m,10m", "exponential:2s,1.5,5m"],
)
def test_a_retry_policy_is_shown_as_it_is_typed(text: str) -> None:
    assert show_retry(parse_retry(text).to_wire()) == text


def test_the_short_forms_of_exponential_fill_in_the_rest() -> None:
    assert parse_retry("exponential") == Retry()
    assert parse_retry("exponential:2s") == Retry(base="2s")


def test_settings_of_a_newer_broker_are_shown_as_they_are() -> None:
    shown = dict(show_settings({"lease_ms": 30_000, "colour": "blue"}))

    assert shown == {"lease": "30s", "colour": "blue"}


def test_limits_and_retentions_of_zero_say_what_they_mean() -> None:
    shown = dict(show_settings({"max_jobs": 0, "retention_ms": 0, "dead_retention_ms": 0}))

    assert shown == {
        "max_jobs": "no limit",
        "retention": "not kept",
        "dead_retention": "until purged",
    }
