"""Retry policies: bounded delays, honest jitter, and refusals that say what is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure_protocol.errors import BadRequest
from tenure_protocol.limits import ATTEMPTS_MAX, RETRY_STEPS_MAX
from tenure_protocol.retry import (
    DEFAULT_POLICY,
    DELAY_MS_MAX,
    FACTOR_MAX,
    Exponential,
    Fixed,
    RetryPolicy,
    Steps,
    delay_ms,
    policy_from_wire,
    policy_to_wire,
)

DELAYS = st.integers(0, DELAY_MS_MAX)
JITTERS = st.floats(0, 1)
FACTORS = st.floats(1, FACTOR_MAX)
POLICIES: st.SearchStrategy[RetryPolicy] = (
    st.builds(
        lambda pair, factor, jitter: Exponential(min(pair), factor, max(pair), jitter),
        st.tuples(DELAYS, DELAYS),
        FACTORS,
        JITTERS,
    )
    | st.builds(Fixed, DELAYS, JITTERS)
    | st.builds(Steps, st.lists(DELAYS, min_size=1, max_size=RETRY_STEPS_MAX).map(tuple), JITTERS)
)


def without_jitter(policy: RetryPolicy, failures: int) -> int:
    return delay_ms(policy, failures, 0.0)


@given(POLICIES)
def test_a_policy_comes_back_from_the_wire(policy: RetryPolicy) -> None:
    assert policy_from_wire(policy_to_wire(policy)) == policy


@given(POLICIES, st.integers(1, ATTEMPTS_MAX), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_between_its_jittered_bounds(
    policy: RetryPolicy, failures: int, random: float
) -> None:
    most = without_jitter(policy, failures)
    delay = delay_ms(policy, failures, random)

    assert 0 <= most <= DELAY_MS_MAX
    assert most * (1 - policy.jitter) - 1 <= delay <= most


@given(POLICIES.filter(lambda policy: not isinstance(policy, Steps)))
def test_delays_never_shrink_and_never_pass_the_cap(policy: RetryPolicy) -> None:
    delays = [without_jitter(policy, failures) for failures in range(1, ATTEMPTS_MAX + 1)]

    assert delays == sorted(delays)
    if isinstance(policy, Exponential):
        assert delays[0] == policy.base_ms
        assert delays[-1] <= policy.cap_ms


def test_the_default_policy_waits_about_1_4_16_64_seconds_and_an_hour_at_most() -> None:
    delays = [without_jitter(DEFAULT_POLICY, failures) for failures in (1, 2, 3, 4, 7, 1_000)]

    assert delays == [1_000, 4_000, 16_000, 64_000, 3_600_000, 3_600_000]


def test_jitter_spreads_a_delay_over_its_whole_share() -> None:
    policy = Fixed(1_000, jitter=0.5)

    assert [delay_ms(policy, 1, random) for random in (0.0, 0.5, 0.999999)] == [1_000, 750, 500]


def test_full_jitter_reaches_from_nothing_to_the_whole_delay() -> None:
    policy = Fixed(1_000, jitter=1.0)

    assert [delay_ms(policy, 1, random) for random in (0.0, 0.999999)] == [1_000, 0]


@pytest.mark.parametrize("failures", [1, 2, 100, 1_000, 10_000_000])
def test_the_steepest_policy_stays_at_its_cap_however_often_a_job_fails(failures: int) -> None:
    steep = Exponential(1, float(FACTOR_MAX), DELAY_MS_MAX, 0.0)

    assert without_jitter(steep, failures) == min(1_000 ** min(failures - 1, 9), DELAY_MS_MAX)


@pytest.mark.parametrize("failures", [1, 200, 1_000])
@pytest.mark.parametrize("cap_ms", [0, 1_000, DELAY_MS_MAX])
def test_nothing_times_any_factor_is_nothing(cap_ms: int, failures: int) -> None:
    assert without_jitter(Exponential(0, float(FACTOR_MAX), cap_ms, 0.2), failures) == 0


def test_a_factor_of_one_waits_the_same_each_time() -> None:
    policy = Exponential(700, 1.0, 5_000, 0.0)

    assert {without_jitter(policy, failures) for failures in range(1, 1_001)} == {700}


def test_the_last_step_repeats() -> None:
    policy = Steps((10, 20, 5), jitter=0.0)

    assert [without_jitter(policy, failures) for failures in (1, 2, 3, 4, 1_000)] == [
        10,
        20,
        5,
        5,
        5,
    ]


@pytest.mark.parametrize(
    "value",
    [
        ["exponential", 0, 1, 0, 0],
        ["exponential", DELAY_MS_MAX, FACTOR_MAX, DELAY_MS_MAX, 1],
        ["fixed", 0, 0],
        ["fixed", DELAY_MS_MAX, 1.0],
        ["steps", [0] * RETRY_STEPS_MAX, 0.5],
    ],
    ids=repr,
)
def test_a_policy_at_its_limits_is_taken(value: object) -> None:
    assert delay_ms(policy_from_wire(value), 1_000, 0.5) >= 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "fixed",
        {"fixed": 1},
        ["none"],
        ["linear", 1, 0.2],
        ["exponential"],
        ["exponential", 1000, 4.0, 3_600_000],
        ["exponential", 1000, 4.0, 3_600_000, 0.2, 0],
        ["exponential", -1, 4.0, 1000, 0.2],
        ["exponential", 1000.0, 4.0, 3_600_000, 0.2],
        ["exponential", True, 4.0, 3_600_000, 0.2],
        ["exponential", 1000, 0.99, 3_600_000, 0.2],
        ["exponential", 1000, FACTOR_MAX + 1, 3_600_000, 0.2],
        ["exponential", 1000, True, 3_600_000, 0.2],
        ["exponential", 1000, float("nan"), 3_600_000, 0.2],
        ["exponential", 1000, float("inf"), 3_600_000, 0.2],
        ["exponential", 1000, "4", 3_600_000, 0.2],
        ["exponential", 1000, 4.0, 999, 0.2],
        ["exponential", 1000, 4.0, DELAY_MS_MAX + 1, 0.2],
        ["exponential", 1000, 4.0, 3_600_000, -0.1],
        ["exponential", 1000, 4.0, 3_600_000, 1.1],
        ["exponential", 1000, 4.0, 3_600_000, float("nan")],
        ["exponential", 1000, 4.0, 3_600_000, None],
        ["fixed", 1000],
        ["fixed", "1000", 0.2],
        ["fixed", DELAY_MS_MAX + 1, 0.2],
        ["fixed", 1000, False],
        ["steps", [], 0.2],
        ["steps", [1] * (RETRY_STEPS_MAX + 1), 0.2],
        ["steps", [1, -1], 0.2],
        ["steps", [1, 1.5], 0.2],
        ["steps", [1, [2]], 0.2],
        ["steps", 5, 0.2],
        ["steps", [1], "0.2"],
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_policy_is_a_bad_request_that_says_what_is_allowed(value: object) -> None:
    with pytest.raises(BadRequest, match="retry policy") as caught:
        policy_from_wire(value)

    assert len(caught.value.message) < 250
