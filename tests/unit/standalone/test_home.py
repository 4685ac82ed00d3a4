"""The data directory: preparation, configuration, lock; each misuse is refused with a sentence and changes nothing."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.errors import AlreadyRunningError, HomeNotUsableError
from standalone.home import Home, default_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_prepare_makes_a_private_directory_and_can_be_repeated(home: Home) -> None:
    home.prepare()
    home.prepare()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert home.logs.is_dir()


def test_a_directory_with_foreign_files_is_left_alone(home: Home) -> None:
    home.path.mkdir()
    (home.path / "thesis.tex").write_text("years of work")
    with pytest.raises(HomeNotUsableError, match="holds other files"):
        home.prepare()
    assert [entry.name for entry in home.path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeNotUsableError, match=r"cannot write to .*set WORKFLOW_HOME"):
        Home(tmp_path / "file" / "home").prepare()


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeNotUsableError, match="too long for unix sockets"):
        Home(tmp_path / ("x" * 120)).prepare()


def test_a_full_disk_is_refused_before_anything_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standalone.home.MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(HomeNotUsableError, match="free some space"):
        home.prepare()


def test_the_configuration_is_made_once_with_secrets_that_only_the_owner_reads(home: Home) -> None:
    home.prepare()
    first = home.load()
    assert home.load() == first
    assert stat.S_IMODE(home.config_file.stat().st_mode) == 0o600
    assert len({first.admin_password, first.controller_client_secret, first.builder_client_secret}) == 3


def test_the_controllers_keys_stand_in_a_file_of_their_own(home: Home) -> None:
    home.prepare()
    home.load()
    (key,) = json.loads(home.key_ring.read_text())
    assert stat.S_IMODE(home.key_ring.stat().st_mode) == 0o600
    home.load()
    assert json.loads(home.key_ring.read_text()) == [key]
    home.save_key_ring(["other", key])
    assert json.loads(home.key_ring.read_text()) == ["other", key]
    home.prepare()  # which knows the file


def test_a_key_of_an_earlier_version_moves_there(home: Home) -> None:
    home.prepare()
    config = home.load()
    home.key_ring.unlink()
    raw = json.loads(home.config_file.read_text()) | {"controller_encryption_key": "former"}
    home.config_file.write_text(json.dumps(raw))
    assert home.load() == config
    assert json.loads(home.key_ring.read_text()) == ["former"]
    assert "former" not in home.config_file.read_text()


def test_options_are_remembered(home: Home) -> None:
    home.prepare()
    config = home.load()
    config.http_port = 9999
    home.save(config)
    assert home.load().http_port == 9999


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "null", '{"http_port": 1'])
def test_a_damaged_configuration_is_explained_and_kept(home: Home, text: str) -> None:
    home.prepare()
    home.config_file.write_text(text)
    with pytest.raises(HomeNotUsableError, match=r"config\.json cannot be read"):
        home.load()
    assert home.config_file.read_text() == text


def test_a_second_platform_on_the_same_directory_is_refused(home: Home) -> None:
    home.prepare()
    with home.locked():
        assert home.running_pid() is not None
        with (
            pytest.raises(AlreadyRunningError, match=r"runs on .* already; stop it with `workflow down`"),
            home.locked(),
        ):
            raise AssertionError("two platforms hold one directory")
    assert home.running_pid() is None


def test_the_lock_goes_with_its_process_however_that_ends(home: Home) -> None:
    home.prepare()
    code = (
        "import sys, time; from pathlib import Path; from standalone.home import Home\n"
        "with Home(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home.path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert home.running_pid() == holder.pid
        holder.kill()
    assert home.running_pid() is None
    with home.locked():
        assert home.running_pid() is not None


def test_the_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKFLOW_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.delenv("WORKFLOW_HOME")
    assert default_home() == Path.home() / ".workflow"
