"""PROTOCOL.md says what the code does: its examples, its tables, its numbers."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tenure_protocol import DEFAULT_PORT, PROTOCOL_VERSION, limits
from tenure_protocol.body import check_body
from tenure_protocol.errors import CODES, error_from_wire
from tenure_protocol.frames import FrameDecoder, encode_frame
from tenure_protocol.ids import decode_id, encode_id
from tenure_protocol.retry import DEFAULT_POLICY, policy_to_wire
from tenure_protocol.wire import pack, unpack
from tenure_server.config import Config
from tenure_server.engine import OPERATIONS as ENGINE_OPERATIONS
from tenure_server.operations import FEATURES
from tenure_server.operations import OPERATIONS as SHELL_OPERATIONS
from tenure_storage.keys import PRODUCER_SLOTS

TEXT = (Path(__file__).parents[2] / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")

EXAMPLE = re.compile(
    r"^### (?P<title>[^\n]+)\n(?:(?!^### ).)*?"
    r"^```value (?P<kind>\w+)\n(?P<value>.*?)^```\n\n^```hex\n(?P<hex>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {match["title"]: match for match in EXAMPLE.finditer(TEXT)}

LISTED = re.compile(r"^([0-9a-f ]+); +(\S.*)$((?:\n[0-9a-f ]+$)*)", re.MULTILINE)


def written_value(text: str) -> object:
    """A value as PROTOCOL.md writes it: JSON with nil, and h"0a1b" for bytes."""
    text = re.sub(r'h"([0-9a-f]*)"', lambda match: repr(bytes.fromhex(match[1])), text)
    for ours, python in (("nil", "None"), ("true", "True"), ("false", "False")):
        text = re.sub(rf"(?<![\w\"]){ours}(?![\w\"])", python, text)
    return ast.literal_eval(text.replace("\n", " ").strip())


def written_bytes(text: str) -> bytes:
    """The bytes of a listing: what stands before the semicolons."""
    return bytes.fromhex(" ".join(line.split(";")[0] for line in text.splitlines()))


def rows_of(header: str) -> list[list[str]]:
    """The cells of the table that begins with `header`, without its header."""
    lines = TEXT[TEXT.index(header) :].splitlines()[2:]
    table = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_every_hex_listing_belongs_to_an_example() -> None:
    assert len(EXAMPLES) == TEXT.count("```hex") == TEXT.count("```value ")
    assert len(EXAMPLES) >= 13


@pytest.mark.parametrize("title", [t for t, m in EXAMPLES.items() if m["kind"] == "frame"])
def test_a_frame_of_the_specification_is_what_the_code_sends_and_reads(title: str) -> None:
    value = written_value(EXAMPLES[title]["value"])
    frame = written_bytes(EXAMPLES[title]["hex"])

    bodies = FrameDecoder().feed(frame)

    assert [unpack(body) for body in bodies] == [value]
    assert encode_frame(value) == frame


@pytest.mark.parametrize("title", [t for t, m in EXAMPLES.items() if m["kind"] == "body"])
def test_a_body_of_the_specification_is_one_that_the_broker_takes(title: str) -> None:
    value = written_value(EXAMPLES[title]["value"])
    body = written_bytes(EXAMPLES[title]["hex"])

    check_body(body, limits.PAYLOAD_BYTES_MAX)

    assert unpack(body) == value
    assert pack(value) == body


def test_the_comments_of_the_listings_name_the_values_beside_them() -> None:
    for match in EXAMPLES.values():
        # A line without a comment goes on with the one before.
        for listed, note, more in LISTED.findall(match["hex"]):
            if re.fullmatch(r'nil|true|false|-?\d+|"[^"]*"', note):
                assert written_value(note) == unpack(bytes.fromhex(listed + more)), note


def test_the_bodies_of_the_example_jobs_are_the_bodies_shown_before() -> None:
    shown = [written_bytes(m["hex"]) for m in EXAMPLES.values() if m["kind"] == "body"]
    request = written_value(EXAMPLES["Enqueue: one bare job, one with options"]["value"])

    assert isinstance(request, list)
    bare, (body, _options) = request[2][1]
    assert [bare, body] == shown


def test_the_errors_of_the_examples_are_errors_that_a_client_understands() -> None:
    reply = written_value(EXAMPLES["An error reply"]["value"])
    fatal = written_value(EXAMPLES["A fatal error"]["value"])
    outcomes = written_value(EXAMPLES["Reply to ack: done, and LEASE_LOST"]["value"])

    assert isinstance(reply, list)
    assert isinstance(fatal, list)
    assert isinstance(outcomes, list)
    for error in (reply[2], fatal[2], outcomes[2][1][1:]):
        assert type(error_from_wire(error)) is CODES[error[0]]


def test_the_ids_of_the_specification_are_the_texts_beside_them() -> None:
    listed = re.findall(r"^  \| `([0-9a-f]{32})` \| `([0-9a-z]{26})` \|$", TEXT, re.MULTILINE)

    assert len(listed) >= 4
    for raw, text in listed:
        assert encode_id(bytes.fromhex(raw)) == text
        assert decode_id(text) == bytes.fromhex(raw)


def test_every_limit_of_the_code_is_in_the_table_with_its_value_and_no_other() -> None:
    rows = rows_of("| limit | default |")

    written = {row[0].strip("`").upper(): number(row[1]) for row in rows}
    ours = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert written == ours


def test_the_limits_of_the_broker_are_its_default_settings() -> None:
    config = Config()

    for row in rows_of("| setting | default | what |"):
        section, name = row[0].strip("`").split(".")
        assert getattr(getattr(config, section), name) == number(row[1]), row[0]


def test_every_error_code_is_in_the_table_and_no_other() -> None:
    rows = rows_of("| code | retryable |")

    written = {row[0].strip("`"): row[1] == "yes" for row in rows}
    assert written == {code: cls.retryable_default for code, cls in CODES.items()}


def test_every_operation_of_the_broker_is_specified() -> None:
    operations = TEXT[TEXT.index("## 5. Operations") : TEXT.index("## 6.")]
    for op in {*SHELL_OPERATIONS, *ENGINE_OPERATIONS} - {"hello"}:
        assert f"`{op}`" in operations, op


def test_every_operation_of_the_broker_has_a_place_in_the_table_of_states() -> None:
    rows = rows_of("| | NEW | OPEN |")
    named = {name.strip(" `") for row in rows for name in row[0].split(",")}

    for op in {*SHELL_OPERATIONS, *ENGINE_OPERATIONS}:
        assert op in named or f"{op.split('.')[0]}.*" in named, op


def test_the_features_in_the_specification_are_those_the_broker_names() -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith("| `features` |"))

    assert re.findall(r"`(\w+)`", row)[1:] == FEATURES


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    assert f"The Tenure protocol, version {PROTOCOL_VERSION}" in TEXT
    assert f"port {DEFAULT_PORT}" in TEXT
    assert f"at most {limits.NESTING_MAX} arrays and maps" in TEXT
    assert f"at most {limits.FRAME_VALUES_MAX:,} values in one frame" in TEXT
    retry = json.dumps(policy_to_wire(DEFAULT_POLICY))
    assert TEXT.count(f"`{retry}`") == 2


def test_all_parts_agree_how_many_sequences_are_remembered() -> None:
    assert limits.SEQUENCES_REMEMBERED == PRODUCER_SLOTS
    assert 2 * limits.ENQUEUES_UNANSWERED_MAX <= limits.SEQUENCES_REMEMBERED
