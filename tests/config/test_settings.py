"""The later source wins, every value knows where it came from, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtool.config import known, settings
from dbtool.config.settings import Settings
from dbtool.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and a home without settings."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return here


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def origin(found: Settings, name: str) -> str:
    return found.values[name].origin


def test_the_seeds_env_file_just_works(folder: Path) -> None:
    text = "DB_HOST=localhost\nDB_PORT=5432\nDB_USER=postgres\nDB_PASSWORD=changeme\nDB_NAME=mydb\n"
    write(folder / ".env", text, 0o644)
    found = settings.load({})
    connection = found.connection("postgres")
    assert (connection.host, connection.port, connection.user) == ("localhost", 5432, "postgres")
    assert (connection.password, connection.database) == ("changeme", "mydb")
    assert found.notes == (
        f"{folder}/.env holds a password that others on this machine can read: chmod 600 {folder}/.env",
    )


def test_the_example_that_is_copied_is_understood(folder: Path) -> None:
    example = Path(__file__).parents[2] / ".env.example"
    write(folder / ".env", example.read_text())
    found = settings.load({})
    assert found.notes == ()
    assert found.connection("postgres").database == "mydb"


def test_each_later_source_wins_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / ".env", "DB_HOST=env-file\nDB_PORT=1\nDB_USER=env-file\nDB_NAME=env-file\n")
    write(
        folder / "dbtool.toml", 'port = 2\nuser = "top"\ndatabase = "top"\n[profiles.p]\nuser = "profile"\n'
    )
    found = settings.load({}, "p")
    assert [found.text(name) for name in ("host", "port", "user", "database")] == [
        "env-file",
        "2",
        "profile",
        "top",
    ]
    assert origin(found, "host") == f"{folder}/.env: DB_HOST"
    assert origin(found, "port") == f"{folder}/dbtool.toml"
    assert origin(found, "user") == f"{folder}/dbtool.toml [profiles.p]"
    assert origin(found, "connect_timeout") == "built-in"
    monkeypatch.setenv("DB_USER", "environment")
    monkeypatch.setenv("DB_NAME", "environment")
    found = settings.load({"database": "given", "host": None, "user": ""}, "p")
    assert [found.text(name) for name in ("host", "user", "database")] == ["env-file", "environment", "given"]
    assert origin(found, "user") == "environment: DB_USER"
    assert origin(found, "database") == "command line"
    assert settings.load({}).text("user") == "environment"


def test_manual_means_the_command_line_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / ".env", "DB_HOST=file\nDB_USER=file\n")
    write(folder / "dbtool.toml", "nonsense")
    monkeypatch.setenv("DB_USER", "environment")
    monkeypatch.setenv("DB_PASSWORD_COMMAND", "'")
    assert settings.load({}, use_files=False).client_directories == ()
    monkeypatch.setenv("PG_BIN_DIRECTORY", "/opt/clients")  # says nothing about the server
    found = settings.load({"host": "given"}, use_files=False)
    assert (found.text("host"), found.text("user")) == ("given", None)
    assert found.client_directories == ("/opt/clients",)
    with pytest.raises(UsageError, match="profile"):
        settings.load({}, "p", use_files=False)


def test_the_database_that_is_named_wins_over_the_settings(folder: Path) -> None:
    write(folder / ".env", "DB_NAME=other\n")
    assert settings.load({}).connection("postgres", "mydb").database == "mydb"
    with pytest.raises(UsageError, match="no database"):
        settings.load({}, use_files=False).connection("postgres")


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("pa$HOME${HOME}`id`", "pa$HOME${HOME}`id`"),
        ("'with space # and hash'", "with space # and hash"),
        ("half#hash", "half#hash"),
        ("=a:b\\c", "=a:b\\c"),
        ("pä€ß", "pä€ß"),
        ('"double ""', None),
    ],
)
def test_passwords_in_env_files_are_taken_as_written(
    folder: Path, written: str, password: str | None
) -> None:
    write(folder / ".env", f"DB_PASSWORD={written}\nDB_NAME=x\n")
    if password is None:
        with pytest.raises(UsageError, match="line 1") as caught:
            settings.load({})
        assert "double" not in f"{caught.value.message}{caught.value.hint}"
    else:
        assert settings.load({}).connection("postgres").password == password


def test_a_misspelt_name_in_env_is_noted_and_in_toml_refused(folder: Path) -> None:
    write(folder / ".env", "DB_PASWORD=x\nOTHER=fine\n")
    assert settings.load({}).notes == (
        f"{folder}/.env: DB_PASWORD is not a setting; did you mean DB_PASSWORD?",
    )
    write(folder / "dbtool.toml", '[profiles.p]\nhots = "x"\n')
    with pytest.raises(UsageError, match=r"profile 'p': 'hots' is not a setting; did you mean host\?"):
        settings.load({})


def test_an_unknown_profile_offers_the_nearest(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no profile 'x'"):
        settings.load({}, "x")
    write(folder / "dbtool.toml", "[profiles.production]\n")
    write(tmp_path / "home/.config/dbtool/dbtool.toml", "[profiles.mine]\nport = 7\n")
    with pytest.raises(UsageError, match=r"did you mean production\?"):
        settings.load({}, "prodction")
    assert settings.load({}, "mine").text("port") == "7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = 0", "port must be a whole number from 1 to 65535, not '0'"),
        ("port = 65536", "port must be"),
        ("port = true", "port must be"),
        ('connect_timeout = "soon"', "connect_timeout must be a whole number from 1, not 'soon'"),
        ('tls_mode = "verify_full"', "tls_mode 'verify_full' is not known"),
        ('engine = "oracle"', "engine 'oracle' is not known"),
        ("host = 5", "host must be a text"),
        ("max_differentials = 0", "max_differentials must be a whole number from 1, not '0'"),
        ("max_differentials = 1.5", "max_differentials must be a whole number"),
        ("max_chain_age = 7", "max_chain_age must be a duration"),
        ('max_chain_age = "7"', "max_chain_age must be a time such as 12h or 7d, not '7'"),
        ('max_chain_age = "0d"', "max_chain_age must be a time"),
        ('max_chain_age = "-1d"', "max_chain_age must be a time"),
        ("max_differential_ratio = 0", "max_differential_ratio must be a number above 0, such as 0.5"),
        ("max_differential_ratio = nan", "max_differential_ratio must be a number above 0"),
        ("max_differential_ratio = true", "max_differential_ratio must be a ratio"),
        ('max_differential_ratio = "half"', "max_differential_ratio must be a number above 0"),
        ("profiles = 5", "profiles must be tables"),
        ("host = ", "cannot read"),
    ],
)
def test_values_that_cannot_be_are_refused(folder: Path, text: str, message: str) -> None:
    write(folder / "dbtool.toml", text + "\n")
    with pytest.raises(UsageError) as caught:
        settings.load({})
    assert message in caught.value.message
    assert str(folder / "dbtool.toml") in caught.value.message


def test_relative_files_start_at_the_folder_of_their_settings(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home/.config/dbtool"
    write(home / "dbtool.toml", 'path = "b k"\ntls_root_certificate = "ca.crt"\npassfile = "~/pw"\n')
    found = settings.load({})
    assert found.path == str(home / "b k")
    assert found.text("tls_root_certificate") == str(home / "ca.crt")
    assert found.text("passfile") == str(tmp_path / "home/pw")
    write(folder / ".env", "BACKUP_PATH=backups\n")
    (home / "dbtool.toml").write_text("")
    assert settings.load({}).path == str(folder / "backups")
    write(folder / ".env", "BACKUP_PATH=s3://bucket/prefix\n")
    assert settings.load({}).path == "s3://bucket/prefix"


def test_show_gives_every_origin_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / ".env", "DB_PASSWORD=hush-hush\nDB_HOST=h\n")
    found = settings.load({})
    assert found.show() == [
        ("host", "h", f"{folder}/.env: DB_HOST"),
        ("password", "(set)", f"{folder}/.env: DB_PASSWORD"),
        ("connect_timeout", "15", "built-in"),
        ("max_differentials", "30", "built-in"),
        ("max_chain_age", "7d", "built-in"),
        ("max_differential_ratio", "0.5", "built-in"),
    ]
    assert "hush" not in repr(found)
    assert "hush" not in repr(found.connection("postgres", "d"))
    monkeypatch.setenv("DB_PASSWORD_COMMAND", "vault read --token hush-hush")
    assert ("password_command", "vault …", "environment: DB_PASSWORD_COMMAND") in settings.load({}).show()


def test_limits_of_chains_come_from_every_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / ".env", "BACKUP_MAX_CHAIN_AGE=2w\nBACKUP_MAX_DIFFERENTIALS=9\n")
    write(folder / "dbtool.toml", "max_differential_ratio = 0.25\nmax_differentials = 8\n")
    monkeypatch.setenv("BACKUP_MAX_DIFFERENTIAL_RATIO", "1")
    found = settings.load({})
    assert [
        found.text(name) for name in ("max_differentials", "max_chain_age", "max_differential_ratio")
    ] == ["8", "2w", "1"]
    assert origin(found, "max_differential_ratio") == "environment: BACKUP_MAX_DIFFERENTIAL_RATIO"
    assert found.notes == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("12h", 43200),
        ("7d", 604800),
        ("2w", 1209600),
        ("1.5h", 5400),
        ("7D", 604800),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert known.duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 d x", "1e3s", "٧d", "7d12h", "-7d"])
def test_what_is_no_duration(text: str) -> None:
    assert known.duration_seconds(text) is None
