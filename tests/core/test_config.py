"""config.toml: one table, its defaults, and what is said of a wrong line."""

import tomllib
from pathlib import Path

import pytest

from governance.base.errors import UsageError
from governance.boundaries import config

CHECKOUT = Path(__file__).parents[2]


def test_the_checkouts_config_holds_every_setting_with_its_default_and_comment():
    assert (CHECKOUT / "config.toml").read_text() == config.template()


def test_a_missing_file_means_the_defaults(tmp_path):
    read = config.load(tmp_path / "config.toml")
    assert read.values == {setting.key: setting.default for setting in config.SETTINGS}


def test_what_the_template_writes_is_what_is_read(tmp_path):
    odd = 'a "quoted" \\ path/é\n\tend'
    (tmp_path / "config.toml").write_text(
        config.template(comfyui_dir=odd, tx__timeout_seconds=1.5, comfyui__args=["--a", 'b"c'])
    )
    read = config.load(tmp_path / "config.toml")
    assert read.text("comfyui_dir") == odd
    assert read.number("tx.timeout_seconds") == 1.5
    assert read.texts("comfyui.args") == ("--a", 'b"c')
    tomllib.loads((tmp_path / "config.toml").read_text())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[tx]\ntimeout_second = 3", "did you mean 'tx.timeout_seconds'"),
        ("tx = 3", "unknown setting 'tx'"),
        ("[tx]\ntimeout_seconds = 0", "a positive number"),
        ("[tx]\ntimeout_seconds = -1", "a positive number"),
        ("[sandbox]\nmax_memory_gb = -1", "a positive number, or 0"),
        ("[tx]\ntimeout_seconds = nan", "a positive number"),
        ("[tx]\ntimeout_seconds = inf", "a positive number"),
        ("[tx]\ntimeout_seconds = true", "a positive number"),
        ('[tx]\ntimeout_seconds = "3"', "a positive number"),
        ("[tx]\nrun_install_script = 1", "true or false"),
        ('[storage]\nlink_mode = "symlink"', "one of auto, clone, hardlink, copy"),
        ('[policy]\ncore_packages = "torch"', "a list of strings"),
        ("[policy]\ncore_packages = [1]", "a list of strings"),
        ("comfyui_dir = 3", "a string"),
        ('comfyui_dir = "a\\u0000b"', "a string"),
        ("[[policy]]\nx = 1", "unknown setting 'policy'"),
        ("[tx", "is not valid TOML"),
        ("a = 1\na = 2", "is not valid TOML"),
        ("x = " + "[" * 5000, "is not valid TOML"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    path = tmp_path / "config.toml"
    path.write_text(line)
    with pytest.raises(UsageError) as caught:
        config.load(path)
    assert caught.value.code == "bad_config"
    assert str(path) in caught.value.message
    assert said in caught.value.message + caught.value.hint


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "config.toml").write_bytes(b'comfyui_dir = "\xff"')
    with pytest.raises(UsageError, match="not valid TOML"):
        config.load(tmp_path / "config.toml")


def test_a_config_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(UsageError, match=r"cannot read .*config\.toml"):
        config.load(tmp_path / "config.toml")
