"""When a worker asks for jobs, through restarts, drops, drains and quiet times."""

from __future__ import annotations

import random

import pytest

from tenure.worker.consumption import (
    DRAINING_PAUSE_MS,
    NEVER_MS,
    PAUSE_MS_MAX,
    PAUSE_MS_MIN,
    Consumption,
    Keep,
    Reserve,
)


def consuming(*pools: str, free: int = 4, burst: bool = False) -> Consumption:
    """One that has synced and has asked for jobs at time 0."""
    found = Consumption(pools or ("main",), burst=burst)
    for name in found.lines:
        found.set_free(name, free)
    assert found.take(0) == [Keep()]
    found.connected()
    found.kept()
    assert found.take(0) == [Reserve(name, free) for name in found.lines]
    return found


def state_of(one: Consumption) -> str:
    return one.state


def test_nothing_is_reserved_before_the_broker_knows_our_leases() -> None:
    fresh = Consumption(["main"])
    fresh.set_free("main", 3)
    assert state_of(fresh) == "connecting"
    assert fresh.take(0) == [Keep()]
    assert fresh.take(5) == []
    fresh.connected()
    assert state_of(fresh) == "syncing"
    assert not fresh.satisfied
    fresh.kept()
    assert state_of(fresh) == "consuming"
    assert fresh.take(5) == [Reserve("main", 3)]
    assert fresh.satisfied


def test_one_reserve_at_a_time_for_no_more_than_the_free_slots() -> None:
    one = consuming()
    one.set_free("main", 9)
    assert one.take(1) == []
    assert one.answered("main", 4, 1)
    one.set_free("main", 5)
    assert one.take(1) == [Reserve("main", 5)]


def test_without_a_free_slot_nothing_is_asked_and_that_is_as_it_should_be() -> None:
    one = consuming()
    one.answered("main", 4, 1)
    one.set_free("main", 0)
    assert one.take(1) == []
    assert one.satisfied
    assert one.alarm_ms == NEVER_MS


def test_a_free_slot_without_a_reserve_is_not_consuming() -> None:
    one = consuming()
    one.answered("main", 1, 1)
    one.set_free("main", 3)
    assert not one.satisfied


def test_each_pool_has_a_reserve_of_its_own() -> None:
    two = consuming("io", "cpu")
    two.answered("io", 4, 1)
    two.set_free("io", 2)
    assert two.take(1) == [Reserve("io", 2)]


def test_after_a_lost_connection_keep_comes_first_and_then_the_reserves() -> None:
    two = consuming("io", "cpu")
    two.lost(10)
    assert two.state == "connecting"
    assert not two.satisfied
    assert two.take(10) == [Keep()]
    two.connected()
    assert two.take(11) == []
    two.kept()
    assert two.take(12) == [Reserve("io", 4), Reserve("cpu", 4)]


def test_a_broker_that_is_away_for_a_minute_is_asked_again_and_again_with_pauses() -> None:
    one = consuming()
    one.lost(0)
    now_ms, tries = 0, 0
    while now_ms < 60_000:
        assert one.take(now_ms) == [Keep()]
        tries += 1
        one.keep_failed(now_ms)
        assert one.take(now_ms) == []
        assert now_ms < one.alarm_ms <= now_ms + PAUSE_MS_MAX
        now_ms = one.alarm_ms
    assert 12 <= tries <= 30
    assert one.take(now_ms) == [Keep()]
    one.connected()
    one.kept()
    assert one.take(now_ms) == [Reserve("main", 4)]
    assert one.satisfied


def test_the_connection_may_break_again_while_leases_are_told() -> None:
    one = consuming()
    one.lost(10)
    assert one.take(10) == [Keep()]
    one.connected()
    one.lost(20)
    one.keep_failed(20)  # the answer to the one that was lost
    assert one.take(20) == [Keep()]
    assert one.take(21) == []


def test_a_reserve_without_an_answer_is_followed_by_keep() -> None:
    one = consuming()
    one.broken("main", 50)
    assert one.state == "syncing"
    assert one.take(50) == [Keep()]
    one.kept()
    assert one.take(51) == [Reserve("main", 4)]


def test_a_reserve_that_was_given_up_does_not_break_anything_later() -> None:
    one = consuming()
    one.lost(10)
    one.broken("main", 10)
    assert one.take(10) == [Keep()]
    one.broken("main", 11)
    assert one.take(11) == []


def test_an_empty_answer_after_its_wait_is_followed_by_the_next_reserve_at_once() -> None:
    one = consuming()
    one.answered("main", 0, 300_000)
    assert one.take(300_000) == [Reserve("main", 4)]


def test_empty_answers_that_come_too_soon_are_not_answered_by_a_flood() -> None:
    one = consuming()
    now_ms = sent = 0
    while now_ms < 10_000:
        one.answered("main", 0, now_ms)
        now_ms = max(now_ms, one.alarm_ms)
        sent += len(one.take(now_ms))
    assert sent < 15


def test_a_draining_broker_is_asked_once_a_second_and_says_why() -> None:
    one = consuming()
    one.answered("main", 0, 5)  # its waiting reserves end
    now_ms = one.alarm_ms
    assert one.take(now_ms) == [Reserve("main", 4)]
    one.refused("main", "the broker is draining", now_ms, draining=True)
    assert one.trouble == "the broker is draining"
    assert not one.satisfied
    assert one.alarm_ms == now_ms + DRAINING_PAUSE_MS
    assert one.take(now_ms + DRAINING_PAUSE_MS - 1) == []
    assert one.take(now_ms + DRAINING_PAUSE_MS) == [Reserve("main", 4)]
    one.answered("main", 2, now_ms + 5_000)
    assert one.trouble is None


def test_refusals_are_followed_by_longer_and_longer_pauses_up_to_a_limit() -> None:
    one = consuming()
    now_ms, pauses = 0, []
    for _ in range(10):
        one.refused("main", "too many leases", now_ms)
        pauses.append(one.alarm_ms - now_ms)
        now_ms = one.alarm_ms
        assert one.take(now_ms) == [Reserve("main", 4)]
    assert pauses[0] == PAUSE_MS_MIN
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MS_MAX
    one.answered("main", 1, now_ms)
    one.refused("main", "again", now_ms)
    assert one.alarm_ms == now_ms + PAUSE_MS_MIN


def test_one_refused_pool_does_not_hold_up_the_others() -> None:
    two = consuming("io", "cpu")
    two.refused("io", "no", 5)
    two.answered("cpu", 1, 5)
    two.set_free("cpu", 3)
    assert two.take(5) == [Reserve("cpu", 3)]


def test_a_quiet_worker_reserves_nothing_and_gives_back_what_still_comes() -> None:
    one = consuming()
    one.quiet = True
    assert one.state == "quiet"
    assert not one.satisfied
    assert not one.answered("main", 2, 10)
    assert one.take(10) == []
    assert one.alarm_ms == NEVER_MS


def test_resumed_it_goes_on_with_the_reserve_that_is_outstanding() -> None:
    one = consuming()
    one.quiet = True
    one.quiet = False
    assert one.take(10) == []
    assert one.satisfied
    assert one.answered("main", 2, 11)


def test_a_quiet_worker_still_tells_a_new_connection_its_leases() -> None:
    one = consuming()
    one.quiet = True
    one.lost(5)
    assert one.take(5) == [Keep()]
    one.connected()
    one.kept()
    assert one.state == "quiet"
    assert one.take(6) == []


def test_a_stopped_worker_sends_nothing_ever_again() -> None:
    one = consuming()
    one.stopped = True
    one.lost(5)
    assert one.state == "stopped"
    assert one.take(9) == []
    assert one.alarm_ms == NEVER_MS
    assert not one.answered("main", 1, 9)


def test_with_burst_it_is_over_when_every_pool_found_nothing() -> None:
    two = consuming("io", "cpu", burst=True)
    two.answered("io", 0, 1)
    assert not two.exhausted
    two.answered("cpu", 0, 1)
    assert two.exhausted
    assert two.take(2) == []
    assert two.alarm_ms == NEVER_MS


def test_with_burst_a_job_that_ended_makes_it_look_again() -> None:
    one = consuming(burst=True)
    one.answered("main", 0, 1)
    one.ended_something()
    assert not one.exhausted
    assert one.take(2) == [Reserve("main", 4)]


def test_with_burst_a_job_that_ends_while_a_reserve_is_out_makes_it_look_again() -> None:
    one = consuming(burst=True)
    one.ended_something()
    # Asked before that job enqueued another, so this emptiness says nothing.
    one.answered("main", 0, 1)
    assert not one.exhausted
    assert one.take(2) == [Reserve("main", 4)]
    one.answered("main", 0, 3)
    assert one.exhausted


@pytest.mark.parametrize("seed", range(200))
def test_whatever_happens_a_worker_that_is_up_ends_up_consuming(seed: int) -> None:
    dice = random.Random(seed)
    one = Consumption(["a", "b"])
    now_ms = 0
    outstanding: set[str] = set()
    keeping = False
    for _ in range(300):
        now_ms += dice.choice((0, 1, 50, 1_000))
        for action in one.take(now_ms):
            if isinstance(action, Keep):
                assert not keeping, "two at a time"
                assert not outstanding, "it would give back what a reserve brings"
                keeping = True
            else:
                assert not keeping
                assert action.pool not in outstanding
                assert action.max_jobs == one.lines[action.pool].free > 0
                outstanding.add(action.pool)
        match dice.randrange(8):
            case 0:
                one.lost(now_ms)
                outstanding.clear()
                keeping = False
            case 1:
                one.connected()
            case 2 if keeping:
                keeping = False
                one.connected()
                one.kept()
            case 3 if keeping:
                keeping = False
                one.keep_failed(now_ms)
            case 4 if outstanding:
                pool = outstanding.pop()
                one.answered(pool, dice.randrange(3), now_ms)
            case 5 if outstanding:
                one.refused(outstanding.pop(), "no", now_ms, draining=dice.random() < 0.5)
            case 6:
                one.set_free(dice.choice("ab"), dice.randrange(5))
            case 7:
                one.quiet = dice.random() < 0.3
    # Now the broker is there and all is well:
    one.quiet = False
    one.connected()
    for name in "ab":
        one.set_free(name, 2)
    for _ in range(5):
        now_ms = max(now_ms, one.alarm_ms if one.alarm_ms < NEVER_MS else now_ms)
        if any(isinstance(action, Keep) for action in one.take(now_ms)) or keeping:
            keeping = False
            one.kept()
    assert one.satisfied
