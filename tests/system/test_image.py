# SPDX-License-Identifier: Apache-2.0
"""What baking the agent into an image leaves there: the product below /usr, the links
that the preset asks for, a user, the package manager's records; and no more."""

import os
import subprocess

import pytest

from conftest import base_path, is_root
from image import Image

USERS = {f"etc/{name}" for name in ("passwd", "group", "shadow", "gshadow")}
LINKS = {"etc/systemd/system/sockets.target.wants/gce-oidc-agent.socket",
         "etc/systemd/system/multi-user.target.wants/gce-oidc-agent.service"}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def base(build_dir, request):
    if not is_root():
        pytest.skip("not root")
    return base_path(build_dir, request.param)


@pytest.fixture(scope="module", params=["package", "tree"])
def image(base, request, tmp_path_factory):
    image = Image(base, tmp_path_factory.mktemp(request.param))
    if request.param == "package":
        image.install_package(request.getfixturevalue("package"))
    else:
        image.install_tree(request.getfixturevalue("stage"))
    yield image
    image.remove()


by_package = pytest.mark.parametrize("image", ["package"], indirect=True)
by_tree = pytest.mark.parametrize("image", ["tree"], indirect=True)


def outside_usr(image):
    return {name for name in image.touched() if not name.startswith("usr/")}


@by_tree
def test_tree_adds_nothing_outside_usr_but_links_and_a_user(image):
    backups = {f"{name}-" for name in USERS}
    assert outside_usr(image) - backups - {
        "etc/.pwd.lock", "etc/systemd/system/sockets.target.wants"} == USERS | LINKS


@by_package
def test_package_adds_to_that_only_the_package_managers_records(image):
    assert image.unexpected() == []
    assert LINKS | USERS <= outside_usr(image)


def test_preset_enables_socket_and_service_and_not_the_lockdown(image):
    enabled = {str(path.relative_to(image.root))
               for path in (image.root / "etc/systemd/system").rglob("*oidc*")}
    assert enabled == LINKS
    for link in LINKS:
        assert (image.root / link).is_symlink()
        assert not os.readlink(image.root / link).startswith("/etc/")


def test_image_is_configured_by_nobody(image):
    """A file of this name makes the condition of the units true everywhere."""
    assert not (image.root / "etc/gce-oidc-agent").exists()


def test_image_is_no_machine_yet(image):
    """Installing has not made one of it."""
    assert (image.root / "etc/machine-id").read_text() == "uninitialized\n"
    assert not (image.root / "var/lib/dbus/machine-id").exists()


def test_image_holds_no_state_cache_key_or_log_of_the_agent(image):
    found = {name for name in image.touched() if not name.startswith(("usr/", "etc/"))}
    assert [name for name in found if "oidc" in name and not name.startswith(
        ("var/lib/dpkg/info/", "var/lib/systemd/deb-systemd-helper-enabled/"))] == []
    user = (image.root / "etc/passwd").read_text().split("gce-oidc-agent:x:")[1].split(":")[0]
    owned = subprocess.run(["find", image.root, "-uid", user], capture_output=True, text=True,
                           check=True)
    assert owned.stdout == ""


@by_package
def test_number_of_the_user_is_in_no_file_but_the_users(image):
    """It is another one in each image."""
    user = (image.root / "etc/passwd").read_text().split("gce-oidc-agent:x:")[1].split(":")[0]
    assert int(user) < 1000
    ours = [image.root / name for name in image.touched()
            if name.startswith(("usr/lib/systemd", "usr/lib/sysusers.d", "usr/lib/gce-oidc"))]
    texts = [path.read_text() for path in ours if path.is_file()]
    assert len(texts) > 5
    assert not any(f" {user} " in text or f"={user}\n" in text for text in texts)


@by_package
@pytest.mark.parametrize("name", [
    "var/lib/gce-oidc-agent/token", "var/cache/gce-oidc-agent/keys", "etc/gce-oidc-agent/agent.conf",
    "etc/gce-oidc-agent/key.json", "var/log/gce-oidc-agent.log", "run/gce-oidc-agent/agent.sock",
    "etc/systemd/system/multi-user.target.wants/gce-oidc-agent-lockdown.service", "etc/hosts.new"])
def test_what_a_package_must_not_leave_would_be_seen(image, name):
    path = image.root / name
    missing = [parent for parent in path.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir()
    path.write_text("secret")
    try:
        assert name in image.unexpected()
    finally:
        path.unlink()
        for parent in missing:
            parent.rmdir()


@by_package
def test_what_a_package_must_not_change_would_be_seen(image):
    path = image.root / "etc/profile"
    it, text = path.stat(), path.read_text()
    path.write_text(text.swapcase())
    try:
        assert "etc/profile" in image.unexpected()
    finally:
        path.write_text(text)
        os.utime(path, ns=(it.st_atime_ns, it.st_mtime_ns))
    assert image.unexpected() == []
