"""What callers say about jobs, queues and dead letters, and what travels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tenure import Client, Reconnect, Retry
from tenure.options import encode_filter, encode_options, encode_settings
from tenure.settings import settings_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ({}, {}),
        ({"priority": None, "delay": None, "headers": {"a": 1}, "codec": "raw"}, {}),
        ({"priority": 7}, {"priority": 7}),
        ({"priority": "critical"}, {"priority": 0}),
        ({"priority": "low"}, {"priority": 192}),
        ({"delay": "1h30m"}, {"delay_ms": 5_400_000}),
        ({"delay": timedelta(days=1)}, {"delay_ms": 86_400_000}),
        ({"delay": 0.25}, {"delay_ms": 250}),
        ({"run_at": NOON}, {"run_at_ms": NOON_MS}),
        ({"run_at": NOON.astimezone(timezone(timedelta(hours=9)))}, {"run_at_ms": NOON_MS}),
        ({"run_at": NOON_MS / 1000}, {"run_at_ms": NOON_MS}),
        ({"max_attempts": 3}, {"max_attempts": 3}),
        ({"lease": "2m"}, {"lease_ms": 120_000}),
        ({"expires": "1d"}, {"expires_in_ms": 86_400_000}),
        ({"expires": NOON}, {"expires_at_ms": NOON_MS}),
        ({"unique": "order-7"}, {"unique": "order-7"}),
        ({"retention": 60}, {"retention_ms": 60_000}),
        ({"retry": Retry.fixed("10s")}, {"retry": ["fixed", 10_000, 0.2]}),
        (
            {"retry": Retry(max_attempts=8, base="2s", factor=2, cap="10m", jitter=0)},
            {"retry": ["exponential", 2000, 2.0, 600_000, 0.0], "max_attempts": 8},
        ),
        ({"retry": Retry(max_attempts=8), "max_attempts": 2}, {"max_attempts": 2}),
        (
            {"retry": Retry.steps(["1s", "1m"])},
            {"retry": ["steps", [1000, 60_000], 0.2], "max_attempts": 3},
        ),
    ],
)
def test_options_of_a_job_travel_in_milliseconds(
    options: dict[str, Any], wire: dict[str, object]
) -> None:
    encoded = encode_options(options)

    assert {**encoded, **wire} == encoded
    assert set(encoded) - {"retry"} == set(wire) - {"retry"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"priority": 256}, "priority"),
        ({"priority": "urgent"}, "priority"),
        ({"priority": True}, "priority"),
        ({"delay": -1}, "delay"),
        ({"delay": "soon"}, "delay"),
        ({"delay": 1e18}, "delay"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at has no time zone"),
        ({"run_at": float("nan")}, "run_at"),
        ({"run_at": float("inf")}, "run_at"),
        ({"run_at": "tomorrow"}, "run_at"),
        ({"delay": 1, "run_at": NOON}, "delay or run_at"),
        ({"delay": "1m", "expires": "1m"}, "never run.*delay"),
        ({"run_at": NOON, "expires": NOON}, "never run.*run_at"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1001}, "max_attempts"),
        ({"retry": ["fixed", 1, 0]}, "retry"),
        ({"lease": "50ms"}, "lease"),
        ({"lease": "13h"}, "lease"),
        ({"expires": 0}, "expires"),
        ({"unique": ""}, "unique"),
        ({"unique": "x" * 201}, "unique"),
        ({"unique": 7}, "unique"),
        ({"prio": 7}, "prio"),
    ],
)
def test_an_impossible_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        encode_options(options)


def test_a_job_may_expire_a_moment_after_its_time() -> None:
    encode_options({"delay": "1m", "expires": "1m1ms"})
    encode_options({"run_at": NOON, "expires": NOON + timedelta(milliseconds=1)})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(factor=0.5),
        lambda: Retry(base="2h", cap="1h"),
        lambda: Retry(max_attempts=0),
        lambda: Retry(jitter=2),
        lambda: Retry.steps([]),
        lambda: Retry.fixed(-1),
    ],
)
def test_an_impossible_retry_policy_is_refused_where_it_is_made(make: Any) -> None:
    with pytest.raises(ValueError):
        make()


def test_settings_of_a_queue_travel_in_milliseconds() -> None:
    wire = encode_settings(
        {
            "lease": "1m",
            "retry": Retry(max_attempts=9),
            "priority": "high",
            "max_jobs": 10,
            "dead_retention": "7d",
            "dlq": False,
            "durability": "memory",
        }
    )

    assert wire == {
        "lease_ms": 60_000,
        "retry": ["exponential", 1000, 4.0, 3_600_000, 0.2],
        "max_attempts": 9,
        "priority": 64,
        "max_jobs": 10,
        "dead_retention_ms": 604_800_000,
        "dlq": False,
        "durability": "memory",
    }


def test_an_unknown_setting_or_filter_is_named() -> None:
    unknown: Any = {"colour": 1}

    with pytest.raises(TypeError, match="colour"):
        encode_settings(unknown)
    with pytest.raises(TypeError, match="colour"):
        encode_filter(unknown)


def test_a_filter_of_dead_jobs_travels_in_milliseconds() -> None:
    assert encode_filter({"error_type": "Value*", "task": None, "older_than": "1h"}) == {
        "error_type": "Value*",
        "older_than_ms": 3_600_000,
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"codec": "pickle"}, "codec"),
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"timeout": 0}, "timeout"),
        ({"connect_timeout": "never"}, "connect_timeout"),
        ({"compress_over": -1}, "compress_over"),
        ({"reconnect": "yes"}, "reconnect"),
        ({"url": "http://a"}, "URL"),
    ],
)
def test_a_client_with_impossible_settings_is_not_made(options: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        Client(**options)


def test_a_client_says_who_it_is_and_where_it_runs() -> None:
    import os

    settings = settings_of(
        None,
        name=None,
        codec="json",
        timeout="1m",
        connect_timeout=1,
        reconnect=False,
        compress_over=False,
    )

    assert settings.name.endswith(f"/{os.getpid()}")
    assert "@" in settings.name
    assert settings.timeout_ms == 60_000
    assert settings.policy is None


def test_pauses_between_tries_must_be_possible() -> None:
    with pytest.raises(ValueError):
        Reconnect(base_ms=0)
    with pytest.raises(ValueError):
        Reconnect(base_ms=10, cap_ms=5)
