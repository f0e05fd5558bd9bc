"""Settings: who wins, what they may be, and what is said of bad ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tenure_server.config import SECTIONS, SETTINGS, Config, with_live_settings
from tenure_server.config_load import ConfigError, load
from tenure_server.config_show import changes, show
from tenure_server.config_values import Address
from tenure_server.main import main
from tenure_storage.capacity import GIB, MIB

SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "tenure.toml"


def problems(
    text: str = "", tmp_path: Path | None = None, environ: dict[str, str] | None = None
) -> list[str]:
    """What is wrong with this file and these variables."""
    file = None
    if tmp_path is not None:
        file = tmp_path / "tenure.toml"
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file=file, environ=environ or {})
    return caught.value.problems


def test_without_anything_the_defaults_hold() -> None:
    loaded = load(environ={})

    assert loaded.config == Config()
    assert loaded.config.listen == Address("127.0.0.1", 7733)
    assert loaded.config.http == Address("127.0.0.1", 7780)
    assert set(loaded.sources.values()) == {"default"}


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "tenure.toml"
    file.write_text(
        'listen = "127.0.0.1:1"\nhttp = "127.0.0.1:2"\ndata_dir = "file"\n'
        "[limits]\nconnections = 3\n"
    )
    environ = {"TENURE_LISTEN": "127.0.0.1:10", "TENURE_HTTP": "127.0.0.1:20"}

    config, sources, _ = load(file=file, environ=environ, flags={"listen": "127.0.0.1:100"})

    assert config.listen.port == 100
    assert config.http == Address("127.0.0.1", 20)
    assert config.data_dir == Path("file")
    assert config.limits.connections == 3
    assert config.limits.queues == 10_000
    assert sources["listen"] == "--listen"
    assert sources["http"] == "TENURE_HTTP"
    assert sources["data_dir"] == f"{file}:3"
    assert sources["limits.connections"] == f"{file}:5"
    assert sources["limits.queues"] == "default"


def test_every_setting_has_a_variable_of_its_own() -> None:
    variables = [setting.variable for setting in SETTINGS.values()]

    assert len(set(variables)) == len(variables)
    assert SETTINGS["limits.connections"].variable == "TENURE_LIMITS_CONNECTIONS"
    assert SETTINGS["data_dir"].variable == "TENURE_DATA_DIR"
    environ = {
        setting.variable: str(setting.kind.show(setting.value_in(Config()))).strip('"')
        for setting in SETTINGS.values()
    }
    assert load(environ=environ).config == Config()


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("timeouts.idle", "45s", 45_000),
        ("timeouts.idle", "2m", 120_000),
        ("timeouts.idle", "1m30s", 90_000),
        ("timeouts.idle", "250ms", 250),
        ("timeouts.idle", 20, 20_000),
        ("timeouts.idle", "20", 20_000),
        ("timeouts.idle", 0.5, 500),
        ("limits.payload_bytes_max", "64KiB", 64 << 10),
        ("limits.payload_bytes_max", "64 kib", 64 << 10),
        ("limits.payload_bytes_max", "1.5MiB", 3 << 19),
        ("limits.payload_bytes_max", "64kB", 64_000),
        ("limits.payload_bytes_max", 1234, 1234),
        ("limits.payload_bytes_max", "1234", 1234),
        ("store.max_bytes", "auto", 0),
        ("store.max_bytes", "2GiB", 2 * GIB),
        ("limits.connections", "1_000", 1_000),
        ("listen", "0.0.0.0:0", Address("0.0.0.0", 0)),
        ("listen", "[::1]:7733", Address("::1", 7733)),
        ("listen", "localhost:7733", Address("localhost", 7733)),
        ("http", "off", None),
        ("http", False, None),
        ("ephemeral", "yes", True),
        ("ephemeral", "0", False),
        ("queues.retry", ["fixed", 1000, 0.5], ["fixed", 1000, 0.5]),
        ("queues.retry", '["steps", [1, 2], 0]', ["steps", [1, 2], 0.0]),
        ("queues.durability", "Memory", "memory"),
        ("log.level", "WARNING", "warning"),
        ("port_file", "", None),
    ],
)
def test_a_value_may_be_written_in_several_ways(name: str, written: object, meant: object) -> None:
    config = load(environ={}, flags={name: written}).config

    assert SETTINGS[name].value_in(config) == meant


@pytest.mark.parametrize(
    ("name", "written", "allowed"),
    [
        ("limits.connections", 0, "whole number from 1 to 1000000"),
        ("limits.connections", "many", "whole number"),
        ("limits.connections", True, "whole number"),
        ("limits.connections", 1.5, "whole number"),
        ("limits.payload_bytes_max", "1 parsec", "a size from"),
        ("limits.payload_bytes_max", "-5KiB", "a size from"),
        ("limits.payload_bytes_max", "auto", "a size from"),
        ("store.max_bytes", "1KiB", "or 'auto'"),
        ("timeouts.idle", "soon", "a duration from"),
        ("timeouts.idle", "0s", "a duration from"),
        ("timeouts.idle", True, "a duration from"),
        ("timeouts.idle", -1, "a duration from"),
        ("timeouts.idle", float("nan"), "a duration from"),
        ("listen", "7733", "host:port"),
        ("listen", "::1:7733", "host:port"),
        ("listen", "host:99999", "host:port"),
        ("listen", "off", "host:port"),
        ("http", "on", "or 'off'"),
        ("ephemeral", "maybe", "true or false"),
        ("ephemeral", 1, "true or false"),
        ("log.level", "loud", "debug, info, warning, error"),
        ("queues.durability", "paper", "disk, memory"),
        ("queues.retry", ["sometimes"], "exponential"),
        ("queues.retry", "not toml [", "exponential"),
        ("queues.lease", "1ms", "from 100ms to 12h"),
        ("queues.priority", 256, "from 0 to 255"),
        ("data_dir", "", "a path"),
        ("data_dir", 5, "a path"),
    ],
)
def test_a_bad_value_names_the_setting_the_source_and_what_is_allowed(
    name: str, written: object, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={}, flags={name: written})

    [problem] = caught.value.problems
    assert problem.startswith(f"--{SETTINGS[name].key.replace('_', '-')}: {name}: ")
    assert allowed in problem
    assert repr(written) in problem


def test_every_problem_is_reported_with_its_place(tmp_path: Path) -> None:
    text = 'listen = "nowhere"\n\n[limits]\nconections = 5\nqueues = 0\n\n[timeout]\nidle = 5\n'

    found = problems(text, tmp_path, {"TENURE_LIMITS_LEASES": "x", "TENURE_TIMEOUTS_IDEL": "5s"})

    file = tmp_path / "tenure.toml"
    assert len(found) == 6
    assert f"{file}:4: unknown setting limits.conections; did you mean limits.connections?" in found
    assert f"{file}:7: unknown section [timeout]; did you mean timeouts?" in found
    variable = "unknown environment variable TENURE_TIMEOUTS_IDEL"
    assert f"{variable}; did you mean TENURE_TIMEOUTS_IDLE?" in found
    assert any(each.startswith(f"{file}:1: listen: expected host:port") for each in found)
    assert any(each.startswith(f"{file}:5: limits.queues: ") for each in found)
    assert any(each.startswith("TENURE_LIMITS_LEASES: limits.leases: ") for each in found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("connections = 5", ":1: unknown setting connections; did you mean limits.connections?"),
        ("limits = 5", ":1: limits: expected a table, write [limits]"),
        ("[limits.more]\nx = 1", "unknown section [limits.more]"),
        ("listen = ", "is not TOML"),
        ("limits.queues = 0", ":1: limits.queues: expected"),
        ("[[limits]]\nqueues = 5", "limits: expected a table"),
    ],
)
def test_a_file_with_a_mistake_in_its_form_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    [problem] = problems(text, tmp_path)

    assert complaint in problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read: No such file"):
        load(file=tmp_path / "nothing.toml", environ={})


def test_variables_of_others_are_left_alone() -> None:
    environ = {
        "TENURE_URL": "tenure://elsewhere",
        "TENURE_SERVICE_HOST": "10.0.0.1",
        "TENURE_SERVICE_PORT_NATIVE": "7733",
        "TENURE_PORT": "tcp://10.0.0.1:7733",
        "TENURE_PORT_7733_TCP_ADDR": "10.0.0.1",
        "TENURE_STORE_SERVICE_HOST": "10.0.0.2",
        "PATH": "/bin",
    }

    assert load(environ=environ) == load(environ={})


def test_a_strange_variable_is_only_remarked_on() -> None:
    config, _, warnings = load(environ={"TENURE_SOMETHING_ELSE_ENTIRELY": "1"})

    assert config == Config()
    assert warnings == ["unknown environment variable TENURE_SOMETHING_ELSE_ENTIRELY"]


def test_a_variable_one_letter_off_is_refused() -> None:
    assert problems(environ={"TENURE_LISTN": "127.0.0.1:1"}) == [
        "unknown environment variable TENURE_LISTN; did you mean TENURE_LISTEN?"
    ]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"limits.frame_bytes_max": "1MiB", "limits.payload_bytes_max": "1MiB"},
            "--payload-bytes-max: limits.payload_bytes_max must be at least 65536 bytes below",
        ),
        (
            {"store.map_bytes": 64 * MIB, "store.max_bytes": 128 * MIB},
            "--map-bytes: store.map_bytes must not be below store.max_bytes",
        ),
        ({"http": "127.0.0.1:7733"}, "--http: http must not be the address of listen"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={}, flags=settings)

    assert any(each.startswith(complaint) for each in caught.value.problems)


def test_the_shown_configuration_reads_back_the_same(tmp_path: Path) -> None:
    loaded = load(
        environ={"TENURE_QUEUES_RETRY": '["fixed", 5, 0.1]', "TENURE_HTTP": "off"},
        flags={
            "data_dir": 'a "quoted" dir',
            "timeouts.idle": "1234ms",
            "store.max_bytes": 12345678,
        },
    )
    file = tmp_path / "shown.toml"
    file.write_text(show(loaded.config, loaded.sources))

    assert load(file=file, environ={}).config == loaded.config
    assert re.search(r'^http = "off"\s+# TENURE_HTTP$', file.read_text(), re.MULTILINE)


def test_check_config_prints_the_effective_settings_and_their_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_LIMITS_CONNECTIONS", "77")

    assert main(["--check-config", "--listen", "127.0.0.1:9"]) == 0

    out = capsys.readouterr().out
    assert re.search(r'^listen = "127.0.0.1:9"\s+# --listen$', out, re.MULTILINE)
    assert re.search(r"^connections = 77\s+# TENURE_LIMITS_CONNECTIONS$", out, re.MULTILINE)
    assert tomllib.loads(out)["timeouts"]["idle"] == "90s"


def test_check_config_of_bad_settings_says_each_problem_and_exits_78(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('listen = "x"\nhttp = "y"\n')

    assert main(["--check-config", "--config", str(file)]) == 78

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"tenure server: {file}:") for line in lines)


def test_the_sample_file_lists_every_setting_with_its_default(tmp_path: Path) -> None:
    uncommented = re.sub(r"(?m)^# (\w+ = )", r"\1", SAMPLE.read_text())
    file = tmp_path / "tenure.toml"
    file.write_text(uncommented)

    config, sources, _ = load(file=file, environ={})

    assert config == Config()
    missing = [name for name, source in sources.items() if source == "default"]
    assert missing == []
    assert tomllib.loads(SAMPLE.read_text()) == {section: {} for section in SECTIONS}


def test_the_sample_file_says_truly_what_a_reload_changes() -> None:
    section, live = "", False
    marked: dict[str, bool] = {}
    for line in SAMPLE.read_text().splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            section, live = header[1] + ".", False
        elif setting := re.match(r"# (\w+) = ", line):
            marked[section + setting[1]] = live
        elif line.startswith("# [live]"):
            live = True
        elif not line:
            live = False

    assert {name for name, mark in marked.items() if mark} == {
        name for name, setting in SETTINGS.items() if setting.live
    }


def test_a_reload_takes_live_settings_and_leaves_the_rest() -> None:
    old = load(environ={}).config
    new = load(
        environ={},
        flags={"limits.connections": 5, "limits.jobs_per_request": 5, "listen": "127.0.0.1:1"},
    ).config

    merged = with_live_settings(old, new)

    assert merged.limits.connections == 5
    assert merged.limits.jobs_per_request == old.limits.jobs_per_request
    assert merged.listen == old.listen
    assert [(each.name, each.live) for each in changes(old, new)] == [
        ("listen", False),
        ("limits.connections", True),
        ("limits.jobs_per_request", False),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("store.max_bytes", "9" * 400),
        ("store.max_bytes", "1e999TiB"),
        ("limits.leases", "9" * 5_000),
        ("data_dir", "~nobody-of-that-name/data"),
        ("queues.retry", "9" * 5_000),
        ("queues.retry", "[" * 5_000),
        ("timeouts.idle", "9" * 5_000 + "d"),
    ],
)
def test_a_value_beyond_all_measure_is_a_problem_with_a_name_and_not_a_traceback(
    name: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={SETTINGS[name].variable: text})
    assert name in caught.value.problems[0]


@pytest.mark.parametrize("text", ["a = " + "9" * 5_000, "a = " + "[" * 5_000 + "]" * 5_000])
def test_a_file_beyond_all_measure_is_not_toml(text: str, tmp_path: Path) -> None:
    [problem] = problems(text, tmp_path)
    assert "is not TOML" in problem
