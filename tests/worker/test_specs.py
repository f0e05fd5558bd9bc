"""What can be typed behind -q and --pool."""

from __future__ import annotations

import os

import pytest

from tenure.errors import BadRequest
from tenure.worker.specs import (
    CONCURRENCY_DEFAULT,
    PoolSpec,
    parse_pools,
    parse_queues,
    show_queues,
)


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("mail", ["mail"]),
        ("mail,bulk", ["mail", "bulk"]),
        (" mail , bulk ,", ["mail", "bulk"]),
        ("mail=4,bulk=1", {"mail": 4, "bulk": 1}),
        ("a:b=1000", {"a:b": 1000}),
    ],
)
def test_queues_are_names_in_order_or_names_with_weights(text: str, queues: object) -> None:
    assert parse_queues(text) == queues
    assert parse_queues(show_queues(parse_queues(text))) == queues


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "name 1 to 256 queues"),
        (",", "name 1 to 256 queues"),
        ("mail=4,bulk", "with and without weights"),
        ("mail,mail", "names a queue twice"),
        ("mail=0", "the weight of mail must be 1 to 1000"),
        ("mail=1001", "the weight of mail"),
        ("mail=x", "the weight of mail"),
        (",".join(f"q{n}" for n in range(257)), "not 257"),
    ],
)
def test_what_are_no_queues_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_queues(text)


def test_a_name_that_no_queue_can_have_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(BadRequest, match="'Mail' cannot name a queue"):
        parse_queues("Mail")


def test_without_a_pool_there_is_one_for_async_and_thread_tasks() -> None:
    assert parse_pools((), None, 0) == [PoolSpec("main", "async", CONCURRENCY_DEFAULT)]
    assert parse_pools((), 7, 0) == [PoolSpec("main", "async", 7)]


def test_a_process_pool_has_a_process_for_each_core() -> None:
    assert parse_pools(("process",), None, 3) == [
        PoolSpec("main", "process", os.cpu_count() or 1, None, 3)
    ]


def test_pools_have_names_sizes_and_queues_of_their_own() -> None:
    pools = parse_pools(("io=async:200:mail,web", "cpu=process:4:thumbs=3,ocr=1", "t=thread"), 9, 0)
    assert pools == [
        PoolSpec("io", "async", 200, ["mail", "web"]),
        PoolSpec("cpu", "process", 4, {"thumbs": 3, "ocr": 1}),
        PoolSpec("t", "thread", 9),
    ]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("fiber",), "is not a pool"),
        (("a=fiber:3",), "is not a pool"),
        (("A=async:3",), "no name for a pool"),
        (("=async",), "no name for a pool"),
        (("a=async:x",), "must be a whole number"),
        (("a=async:0",), "must be 1 to 10000"),
        (("a=async:10001",), "must be 1 to 10000"),
        (("a=async:1", "a=process:1"), "two pools are called 'a'"),
        (("async", "process"), "two pools are called 'main'"),
    ],
)
def test_what_is_no_pool_is_refused_with_the_reason(texts: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_pools(texts, None, 0)
