"""Settings: precedence, and errors that name the variable, the value, the rule and the remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings, load_settings

KEY = "TD.a-key-that-must-not-show"


@pytest.fixture
def clean(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_environment_beats_env_file_beats_yaml_beats_default(clean, monkeypatch):
    yaml, env = clean / "a.yaml", clean / "a.env"
    yaml.write_text("batch_size: 1\nMAX_PARALLEL_UPLOADS: 1\nDOWNLOAD_MAX_WORKERS: 1\n")
    env.write_text("BATCH_SIZE=2\nMAX_PARALLEL_UPLOADS=2\n")
    monkeypatch.setenv("BATCH_SIZE", "3")
    found = load_settings(env, yaml)
    assert (found.batch_size, found.max_parallel_uploads, found.download_max_workers) == (3, 2, 1)
    assert found.max_concurrent_requests == 50


def test_a_dot_env_file_in_the_working_folder_is_read(clean):
    (clean / ".env").write_text("BATCH_SIZE=7\nSOMEBODY_ELSES=1\n")
    assert load_settings().batch_size == 7


def test_lists_come_as_comma_text_or_as_yaml_lists(clean, monkeypatch):
    yaml = clean / "a.yaml"
    yaml.write_text("DOWNLOAD_DATA_TYPES: [trades, QUOTES]\n")
    monkeypatch.setenv("DOWNLOAD_VENUES", "okx-swap, BINANCE")
    found = load_settings(config_file=yaml)
    assert found.download_venues == (VenueId.OKEX_SWAP, VenueId.BINANCE)
    assert [str(item) for item in found.download_data_types] == ["trades", "quotes"]


def test_blank_lines_of_a_copied_template_mean_not_set(clean):
    (clean / ".env").write_text("TARDIS_API_KEY=\nGCS_BUCKET=\nBATCH_SIZE=\n")
    found = load_settings()
    assert (found.tardis_api_key, found.gcs_bucket, found.batch_size) == (None, None, 1000)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_CONCURRENT_REQUESTS", "0"),
        ("DOWNLOAD_MAX_WORKERS", "two"),
        ("MEMORY_THRESHOLD_PERCENT", "101"),
        ("BATCH_SIZE", "-1"),
        ("LOG_LEVEL", "LOUD"),
        ("LAKE_ROOT", "gs://bucket/prefix"),
        ("TARDIS_ENDPOINT", "not an address"),
        ("GCP_CREDENTIALS_PATH", "nowhere.json"),
        ("GCS_BUCKET", "A"),
        ("GCP_PROJECT_ID", "X"),
        ("DAGSTER_HOME", "relative"),
        ("PARTITION_START_DATE", "2024/01/01"),
        ("PARTITION_END_DATE", "2023-12-31"),
        ("INSTRUMENT_EXCHANGES", "binance,nowhere"),
        ("DOWNLOAD_DATA_TYPES", "candles"),
    ],
)
def test_a_wrong_value_names_variable_value_rule_and_remedy(clean, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSetting) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{variable}: not valid (was '{value.rsplit(',', 1)[-1]}'; expected ")
    assert text.endswith(".")


def test_every_setting_carries_a_description_or_a_rule_and_a_remedy():
    for field in Settings.model_fields.values():
        assert field.description
        assert {"expected", "remedy"} <= set(field.json_schema_extra)


def test_all_wrong_values_are_reported_at_once(clean, monkeypatch):
    monkeypatch.setenv("BATCH_SIZE", "0")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(InvalidSetting, match=r"(?s)2 are wrong.*BATCH_SIZE.*LOG_LEVEL"):
        load_settings()


def test_a_file_that_was_asked_for_has_to_exist(clean):
    with pytest.raises(InvalidSetting, match="--env-file: no such file"):
        load_settings(env_file=clean / "missing.env")
    with pytest.raises(InvalidSetting, match="--config-file: no such file"):
        load_settings(config_file=clean / "missing.yaml")


def test_a_misspelt_name_in_yaml_is_an_error(clean):
    yaml = clean / "a.yaml"
    yaml.write_text("BATCHSIZE: 3\n")
    with pytest.raises(InvalidSetting, match="unknown setting BATCHSIZE"):
        load_settings(config_file=yaml)


def test_the_files_can_be_named_in_the_environment(clean, monkeypatch):
    yaml = clean / "b.yaml"
    yaml.write_text("BATCH_SIZE: 4\n")
    monkeypatch.setenv("TICKHANDLER_CONFIG_FILE", str(yaml))
    assert load_settings().batch_size == 4


def test_the_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().batch_size = 1


@given(st.text(min_size=8, max_size=40).filter(lambda text: text.isprintable()))
def test_a_key_never_shows(secret):
    settings = Settings(tardis_api_key=f"TD.{secret}")
    for text in (
        str(settings),
        repr(settings),
        str(settings.variables()),
        settings.model_dump_json(),
    ):
        assert f"TD.{secret}" not in text


def test_a_wrong_key_never_shows(clean, monkeypatch):
    monkeypatch.setenv("TARDIS_API_KEY", "oops-no-prefix")
    with pytest.raises(InvalidSetting, match="TARDIS_API_KEY: not valid") as caught:
        load_settings()
    assert "oops" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_grid_appends_venues_that_are_only_downloaded():
    settings = Settings(
        instrument_exchanges=("upbit", "binance"), download_venues=("deribit", "upbit")
    )
    assert settings.grid_venues == (VenueId.UPBIT, VenueId.BINANCE, VenueId.DERIBIT)


def test_nothing_is_downloaded_of_a_venue_that_is_only_in_the_grid():
    settings = Settings(
        instrument_exchanges=("upbit", "binance"),
        download_venues=("upbit",),
        download_data_types=("trades", "quotes"),
    )
    assert settings.downloads == {
        VenueId.UPBIT: (DataType.TRADES, DataType.QUOTES),
        VenueId.BINANCE: (),
    }


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("MFT_WINDOWS: {rsj: [14]}", "MFT_WINDOWS: unknown name rsj (expected one of horizons, "),
        ("MFT_WINDOWS: {rsi: [0]}", "MFT_WINDOWS: rsi: not windows (was '[0]'; expected a list of"),
        ("MFT_WINDOWS: {rsi: []}", "MFT_WINDOWS: rsi: not windows (was '[]'; "),
        ("MFT_WINDOWS: {rsi: 14}", "MFT_WINDOWS: rsi: not windows (was '14'; "),
        ("MFT_WINDOWS: {rsi: [yes]}", "MFT_WINDOWS: rsi: not windows (was '[True]'; "),
        ("MFT_WINDOWS: {macd: [12, 26]}", "MFT_WINDOWS: macd: not windows (was '[12, 26]'; "),
        ("MFT_WINDOWS: fast", "MFT_WINDOWS: not a mapping (was 'fast'; "),
        ("MFT_SETS: {Core: [rsi_14]}", "MFT_SETS: Core: not a name (expected lower-case letters"),
        ("MFT_SETS: {core: rsi_14}", "MFT_SETS: core: not a list of names (was 'rsi_14'; "),
        ("MFT_SETS: {core: []}", "MFT_SETS: core: not a list of names (was '[]'; "),
        ("MFT_SETS: {core: {of: [a]}}", "MFT_SETS: core: unknown name of (expected one of feat"),
        (
            "MFT_SETS: {core: {features: [a], timeframes: [15s]}}",
            "MFT_SETS: core: not a timeframe of mft_features (was '15s'; expected one of 1m, ",
        ),
        ("MFT_ALLOW_GAPS: perhaps", "MFT_ALLOW_GAPS: not valid (was 'perhaps'; expected true or"),
    ],
)
def test_wrong_windows_and_sets_name_what_is_wrong(clean, yaml, expected):
    (clean / "a.yaml").write_text(f"{yaml}\n")
    with pytest.raises(InvalidSetting) as caught:
        load_settings(config_file=clean / "a.yaml")
    assert str(caught.value).startswith(expected)


def test_windows_and_sets_survive_the_way_to_a_child_process(clean, monkeypatch):
    (clean / "a.yaml").write_text(
        "MFT_WINDOWS: {rsi: [7], macd: [[3, 5, 2]]}\n"
        "MFT_SETS: {core: ['rsi_*'], slow: {features: [rsi_7], timeframes: [1h, 4h]}}\n"
    )
    found = load_settings(config_file=clean / "a.yaml")
    assert (found.mft_windows.rsi, found.mft_windows.macd) == ((7,), ((3, 5, 2),))
    assert found.mft_windows.trend == Windows().trend
    for name, text in found.variables().items():
        if name.startswith("MFT_"):
            monkeypatch.setenv(name, text)
    again = load_settings()
    assert (again.mft_windows, again.mft_sets) == (found.mft_windows, found.mft_sets)
    assert [one.name for one in again.mft_sets] == ["core", "slow"]


def test_klines_come_from_nowhere_the_venue_or_a_path_that_exists(clean, monkeypatch):
    assert load_settings().klines_source == "off"
    monkeypatch.setenv("KLINES_SOURCE", "Venue")
    assert load_settings().klines_source == "venue"
    monkeypatch.setenv("KLINES_SOURCE", str(clean))
    assert load_settings().klines_source == str(clean)
    monkeypatch.setenv("KLINES_SOURCE", "no/such/folder")
    with pytest.raises(
        InvalidSetting, match=r"KLINES_SOURCE.*no/such/folder.*off, venue, or a file"
    ):
        load_settings()


def test_a_bare_off_of_yaml_is_no_source_of_klines(clean):
    yaml = clean / "a.yaml"
    yaml.write_text("KLINES_SOURCE: off\n")
    assert load_settings(config_file=yaml).klines_source == "off"


def test_settings_made_in_code_take_nothing_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GCS_BUCKET", "the-real-one")
    assert Settings().gcs_bucket is None  # the demo's runs would else fill it
    assert load_settings().gcs_bucket == "the-real-one"
