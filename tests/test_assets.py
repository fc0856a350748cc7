"""Files of other projects are what they were, complete, and licensed."""

import hashlib

import yaml
from conftest import ROOT

ASSETS = ROOT / "_assets"
VENDOR = ASSETS / "vendor"
PACKAGES = ("@jupyter-widgets/html-manager", "mathjax", "requirejs", "source-serif-4")


def _listed() -> dict[str, str]:
    lines = (VENDOR / "CHECKSUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def test_every_vendored_file_has_its_checksum():
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name not in ("CHECKSUMS", "README.md")
    }
    assert found == _listed()


def test_every_package_has_its_licence_and_is_named_in_the_readme():
    readme = (VENDOR / "README.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        assert len((VENDOR / package / "LICENSE").read_text(encoding="utf-8")) > 500, package
        assert f"`{package}/`" in readme
    folders = {name.rsplit("/", 1)[0] for name in _listed()}
    assert all(folder.startswith(PACKAGES) for folder in folders)


def test_config_names_assets_that_exist():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = config["sphinx"]["config"]
    names = [*sphinx["html_css_files"], *sphinx["html_js_files"], *sphinx["nb_ipywidgets_js"]]
    for name in [*names, sphinx["mathjax_path"]]:
        assert (ASSETS / name).is_file(), name
    for name in (config["logo"], config["html"]["favicon"]):
        assert (ROOT / name).is_file(), name
