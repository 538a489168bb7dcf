"""Settings: read once, checked at the start, with the remedy in the message."""

import pytest

from novai_web.config import Settings


@pytest.mark.parametrize("given", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d"])
def test_a_database_address_as_hosts_hand_it_out_gets_the_installed_driver(given):
    assert Settings(_env_file=None, database_url=given).database_url == "postgresql+psycopg://u@h/d"


def test_no_address_means_the_embedded_server(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert Settings(_env_file=None).database_url == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NOVAI_PORT", "eighty", "PORT"),
        ("NOVAI_SIGN_UP", "maybe", "SIGN_UP"),
        ("SUPABASE_URL", "https://example.supabase.co", "SUPABASE_SERVICE_ROLE_KEY"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name_and_the_remedy(monkeypatch, tmp_path, name, value, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        Settings.read()
    assert said in str(ended.value) and "start again" in str(ended.value)


def test_the_signing_key_is_made_once_and_is_nobody_elses_to_read(tmp_path):
    first, second = (Settings(_env_file=None, data=tmp_path, secret_key="").secret for _ in range(2))
    assert first == second and len(first) >= 48
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


def test_keys_are_not_shown_when_settings_are():
    shown = repr(Settings(_env_file=None, supabase_url="https://x.co", supabase_key="top secret", secret_key="hidden"))
    assert "top secret" not in shown and "hidden" not in shown


def test_what_surrounds_a_pasted_key_does_not_belong_to_it():
    assert Settings(_env_file=None, gemini_key=" key\n").gemini_key.get_secret_value() == "key"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PICSI_KEY": "k"}, "NOVAI_PICSI_URL"),
        ({"NOVAI_CREDENTIALS_KEY": "/key.pem"}, "NOVAI_CREDENTIALS_CHAIN"),
        ({"NOVAI_PICSI_STATUSES": '{"gone": "lost"}'}, "PICSI_STATUSES"),
        ({"NOVAI_PRICE_MARKUP": "-1"}, "PRICE_MARKUP"),
    ],
)
def test_settings_of_vendors_that_cannot_be_meant_end_the_start(monkeypatch, tmp_path, given, said):
    monkeypatch.chdir(tmp_path)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        Settings.read()
    assert said in str(ended.value)


def test_one_vendor_without_a_key_is_enough_for_the_sandbox():
    keys = {"fal_key": "a", "gemini_key": "b", "wavespeed_key": "c", "picsi_key": "d", "picsi_url": "https://p.example"}
    assert not Settings(_env_file=None, **keys).lacks_a_key
    assert Settings(_env_file=None, **keys | {"gemini_key": ""}).lacks_a_key
