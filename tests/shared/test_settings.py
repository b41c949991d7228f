"""Settings: what a file or a variable may say, and what is said when it says something else."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, SecretStr, ValidationError, field_validator

from shared.errors import SettingsError
from shared.settings import (
    CoreSettings,
    Home,
    Section,
    check_sections,
    database_url,
    default_home,
    load_section,
    settings_file,
    wanted_device,
)


class Smtp(Section):
    host: str = "localhost"
    port: int = Field(default=25, ge=1, le=65535)
    password: SecretStr | None = None


class News(Section):
    batch_size: int = Field(default=8, ge=1)
    feeds: tuple[str, ...] = ()
    mode: Literal["rss", "atom"] = "rss"
    share: float | None = None
    smtp: Smtp = Smtp()

    @field_validator("feeds")
    @classmethod
    def _only_web(cls, feeds: tuple[str, ...]) -> tuple[str, ...]:
        if any(not feed.startswith("http") for feed in feeds):
            raise ValueError("a feed begins with http")
        return feeds


def write(folder: Path, text: str) -> Path:
    path = folder / "triptych.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_replaces_defaults_and_the_environment_replaces_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path, '[news]\nbatch_size = 4\nmode = "atom"\n[news.smtp]\nhost = "a"\nport = 1'
    )
    environ = {"TRIPTYCH_NEWS__BATCH_SIZE": "16", "TRIPTYCH_NEWS__SMTP__HOST": "b"}
    news = load_section(News, "news", file=file, environ=environ)
    assert news == News(batch_size=16, mode="atom", smtp=Smtp(host="b", port=1))


def test_a_missing_section_and_no_file_give_defaults(tmp_path: Path) -> None:
    assert load_section(News, "news", file=write(tmp_path, "[other]\nx = 1"), environ={}) == News()
    assert load_section(News, "news", file=None, environ={}) == News()


@pytest.mark.parametrize("text", ["http://a, http://b", '["http://a", "http://b"]'])
def test_a_list_in_the_environment_is_json_or_split_at_commas(text: str) -> None:
    news = load_section(News, "news", file=None, environ={"TRIPTYCH_NEWS__FEEDS": text})
    assert news.feeds == ("http://a", "http://b")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        News().batch_size = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[news]\nbatch_size = '8x'",
            "triptych.toml [news]: batch_size = '8x', expected a whole number >= 1",
        ),
        (
            "[news]\nbatch_size = 0",
            "triptych.toml [news]: batch_size = 0, expected a whole number >= 1",
        ),
        (
            "[news]\nbatchsize = 8",
            "triptych.toml [news]: unknown key 'batchsize', did you mean 'batch_size'?; "
            "allowed: batch_size, feeds, mode, share, smtp",
        ),
        ("[news]\nmode = 'x'", "triptych.toml [news]: mode = 'x', expected one of 'rss', 'atom'"),
        ("[news]\nshare = 'x'", "triptych.toml [news]: share = 'x', expected a number"),
        ("[news]\nfeeds = 3", "triptych.toml [news]: feeds = 3, expected a list of text"),
        ("[news]\nfeeds = [3]", "triptych.toml [news]: feeds.0 = 3, expected text"),
        (
            "[news]\nfeeds = ['ftp://a']",
            "triptych.toml [news]: feeds = ['ftp://a'], a feed begins with http",
        ),
        (
            "[news.smtp]\nport = 70000",
            "triptych.toml [news]: smtp.port = 70000, expected a whole number >= 1 and <= 65535",
        ),
        (
            "[news.smtp]\nprt = 25",
            "triptych.toml [news.smtp]: unknown key 'prt', did you mean 'port'?; "
            "allowed: host, port, password",
        ),
        (
            "[news.smtp]\npassword = 12345",
            "triptych.toml [news]: smtp.password = '**********', expected text",
        ),
        ("news = 3", "triptych.toml: news = 3 is a value, expected a section [news]"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_section(News, "news", file=write(tmp_path, text), environ={})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "TRIPTYCH_NEWS__BATCH_SIZE",
            "many",
            "environment TRIPTYCH_NEWS__BATCH_SIZE = 'many', expected a whole number >= 1",
        ),
        (
            "TRIPTYCH_NEWS__BATCHSIZE",
            "8",
            "environment TRIPTYCH_NEWS__BATCHSIZE: unknown key, did you mean "
            "'TRIPTYCH_NEWS__BATCH_SIZE'?; allowed: TRIPTYCH_NEWS__BATCH_SIZE, "
            "TRIPTYCH_NEWS__FEEDS, TRIPTYCH_NEWS__MODE, TRIPTYCH_NEWS__SHARE, TRIPTYCH_NEWS__SMTP",
        ),
        (
            "TRIPTYCH_NEWS__SMTP__PORT",
            "x",
            "environment TRIPTYCH_NEWS__SMTP__PORT = 'x', "
            "expected a whole number >= 1 and <= 65535",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    variable: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_section(News, "news", file=None, environ={variable: value})
    assert str(caught.value) == message


def test_a_secret_is_never_shown() -> None:
    environ = {"TRIPTYCH_NEWS__SMTP__PASSWORD": "hunter2"}
    news = load_section(News, "news", file=None, environ=environ)
    assert news.smtp.password is not None
    assert news.smtp.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(news)


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "[news]\nbatch_size == 3\n")
    with pytest.raises(SettingsError) as caught:
        load_section(News, "news", file=file, environ={})
    assert str(caught.value) == f"{file}: not valid TOML: Invalid value (at line 2, column 13)"


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "triptych.toml"
    file.write_bytes(b"[news]\n# caf\xe9\n")
    with pytest.raises(SettingsError) as caught:
        load_section(News, "news", file=file, environ={})
    assert str(caught.value) == f"{file} line 2: not UTF-8; save the file as UTF-8"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_section(News, "news", file=tmp_path / "no.toml", environ={})
    assert str(caught.value) == f"{tmp_path / 'no.toml'}: no such settings file"


def test_a_byte_order_mark_does_not_hurt(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeff[news]\nbatch_size = 3")
    assert load_section(News, "news", file=file, environ={}).batch_size == 3


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        check_sections(write(tmp_path, "[newz]\n"), ["triptych", "news"])
    assert str(caught.value) == (
        "triptych.toml: unknown section [newz], did you mean 'news'?; known: news, triptych"
    )


def test_the_core_section_has_short_variables() -> None:
    url = "sqlite:////x/own.db"
    environ = {
        "TRIPTYCH_DEVICE": "cpu", "TRIPTYCH_HOME": "/x", "TRIPTYCH_TRIPTYCH__DATABASE_URL": url
    }  # fmt: skip
    core = load_section(CoreSettings, "triptych", file=None, environ=environ)
    assert core.device == "cpu"
    assert core.database_url is not None
    assert core.database_url.get_secret_value() == url


@pytest.mark.parametrize("key", ["base_model", "seed", "threads", "log_dir"])
def test_what_an_option_says_is_no_setting(tmp_path: Path, key: str) -> None:
    file = write(tmp_path, f"[triptych]\n{key} = 3\n")
    with pytest.raises(SettingsError) as caught:
        wanted_device(None, {"TRIPTYCH_SETTINGS": str(file)})
    assert str(caught.value) == (
        f"triptych.toml [triptych]: unknown key {key!r}; allowed: database_url, device"
    )


def test_the_device_is_the_one_given_else_that_of_the_settings(tmp_path: Path) -> None:
    file = write(tmp_path, '[triptych]\ndevice = "cpu"\n')
    environ = {"TRIPTYCH_SETTINGS": str(file)}
    assert wanted_device(None, environ) == "cpu"
    assert wanted_device(None, {**environ, "TRIPTYCH_DEVICE": "cuda"}) == "cuda"
    assert wanted_device("auto", environ) == "auto"
    assert wanted_device(None, {"TRIPTYCH_SETTINGS": str(write(tmp_path, ""))}) == "auto"


def test_the_home_is_named_by_the_environment(tmp_path: Path) -> None:
    home = default_home({"TRIPTYCH_HOME": str(tmp_path / "h")})
    assert home.root == tmp_path / "h"
    assert home.models == tmp_path / "h" / "models"
    assert home.database_url == f"sqlite:///{tmp_path / 'h' / 'triptych.db'}"
    assert not home.root.exists()
    assert default_home({}).root == Path(__file__).parents[2] / "data" / "var"


def test_the_database_is_that_of_the_home_unless_settings_name_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    url = "postgresql+psycopg://ana@db/shop"
    file = write(tmp_path, f'[triptych]\ndatabase_url = "{url}"')
    assert database_url(home, {"TRIPTYCH_SETTINGS": str(file)}) == url
    elsewhere = {"TRIPTYCH_SETTINGS": str(write(tmp_path, ""))}
    assert database_url(home, elsewhere) == home.database_url


def test_the_settings_file_is_found_in_the_folder(tmp_path: Path) -> None:
    assert settings_file({}, tmp_path) is None
    file = write(tmp_path, "")
    assert settings_file({}, tmp_path) == file
    assert settings_file({"TRIPTYCH_SETTINGS": "/etc/t.toml"}, tmp_path) == Path("/etc/t.toml")
