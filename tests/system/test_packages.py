# SPDX-License-Identifier: Apache-2.0
"""The packages that make deb and make rpm build: what is in them, that it is the same
whoever builds it, and what Debian's own checkers say.  Nothing is installed here;
test_upgrade.py does that."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from conftest import TESTS, base_path, is_root

AGENT, LIBRARY, DEVELOPMENT = "gce-oidc-agent", "libgce-oidc0", "libgce-oidc-dev"
DEBIAN = TESTS.parent / "units/debian"
# Not the caller's: make's flags, a compiler, a language.
HOME = tempfile.TemporaryDirectory(prefix="goa-")     # rpm writes there
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME.name,
               "LC_ALL": "C.UTF-8"}


def call(*command, **more):
    more = {"env": ENVIRONMENT, "check": False, **more}
    return subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def run(*command, **more):
    done = call(*command, **more)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tarball(build_dir):
    found = sorted(build_dir.glob("gce-oidc-agent-*.tar.xz"))
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Removed at the end: builds are large."""
    directory = tmp_path_factory.mktemp("packages")
    yield directory
    shutil.rmtree(directory)


def package(debs, name):
    """The file of the package of that name."""
    found = list(debs.glob(f"{name}_*.deb"))
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def contents(deb):
    """{path: (type and mode, owner)}, as they are installed."""
    lines = run("dpkg-deb", "--contents", deb).splitlines()
    return {fields[5].removeprefix("."): (fields[0], fields[1])
            for fields in (line.split(None, 5) for line in lines)}


def control(deb, field):
    return run("dpkg-deb", "--field", deb, field).strip()


def test_three_packages_are_built_and_their_symbols(debs):
    names = {path.name.split("_")[0] for path in debs.glob("*.deb")}
    assert names == {AGENT, LIBRARY, DEVELOPMENT, f"{AGENT}-dbgsym", f"{LIBRARY}-dbgsym"}


def test_each_file_that_is_installed_is_in_one_package(debs, stage):
    """make install's, compared by name: the build's prefix may be another."""
    packed = [name for package_name in (AGENT, LIBRARY, DEVELOPMENT)
              for name, (mode, _) in contents(package(debs, package_name)).items()
              if mode[0] != "d"]
    assert len(packed) == len(set(packed))
    names = {pathlib.Path(name.partition(" -> ")[0]).name.removesuffix(".gz")
             for name in packed}
    installed = {path.name for path in stage.rglob("*") if not path.is_dir()}
    installed -= {path.name for path in stage.rglob("*.la")}
    debians = {"changelog", "copyright"}
    assert names - debians == installed


def test_all_belongs_to_root_and_none_may_be_written_by_others(debs):
    for deb in debs.glob("*.deb"):
        for path, (mode, owner) in contents(deb).items():
            assert owner == "root/root", path
            assert mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), f"{path} {mode}"
            assert "s" not in mode, f"{path} {mode}"


def test_nothing_outside_usr_and_no_configuration(debs):
    """No conffiles: agent.conf is the administrator's alone; were it a package's, the
    units' condition would hold everywhere."""
    for name in (AGENT, LIBRARY, DEVELOPMENT):
        deb = package(debs, name)
        outside = [path for path in contents(deb)
                   if not re.match(r"/(usr/|lib/systemd/|(usr|lib)?/?$)", path)]
        assert outside == []
        run("dpkg-deb", "--control", deb, debs / f"control-{name}")
        assert not (debs / f"control-{name}" / "conffiles").exists()
        shutil.rmtree(debs / f"control-{name}")


def test_library_needs_libc_alone(debs):
    depends = control(package(debs, LIBRARY), "Depends")
    assert re.fullmatch(r"libc6 \(>= [0-9.]+\)", depends), depends
    assert control(package(debs, LIBRARY), "Multi-Arch") == "same"
    version = control(package(debs, LIBRARY), "Version")
    assert f"libgce-oidc0 (= {version})" in control(package(debs, DEVELOPMENT), "Depends")


# --- checkers


def test_lintian_finds_nothing_but_what_is_justified(debs, tool):
    lintian = tool("lintian", "lintian")
    changes = next(debs.glob("*.changes"))
    # Its words in binaries are also those that the compiler cut, to share their ends.
    said = call(lintian, "--display-info", "--profile=debian", "--allow-root",
                "--fail-on=error,warning,info", "--suppress-tags=spelling-error-in-binary",
                "--show-overrides", changes)
    # What is justified is found, which is the control, and nothing else is.
    assert {line.partition(":")[0] for line in said.stdout.splitlines()} == {"N", "O"}, \
        said.stdout
    assert said.returncode in (0, 2)


def test_each_override_says_why():
    for path in DEBIAN.glob("*.lintian-overrides"):
        lines = path.read_text().splitlines()
        assert lines and all(lines[at - 1].startswith("#") and at
                             for at, line in enumerate(lines) if not line.startswith("#"))


def test_other_place_time_umask_and_zone_make_the_same_packages(debs, tarball, work, tool):
    faketime = tool("faketime", "faketime")
    place = work / "elsewhere"
    place.mkdir()
    run("sh", "-c", 'umask 027; exec "$@"', "sh", faketime, "-f", "+400d",
        DEBIAN / "build", tarball, place / "deb", cwd=work,
        env={**ENVIRONMENT, "TZ": "Pacific/Chatham", "LC_ALL": "C", "LANGUAGE": "de",
             "HOME": str(work), "DEB_BUILD_OPTIONS": "parallel=3"})
    ours = sorted(debs.glob("*.deb"))
    assert [path.name for path in ours] == sorted(
        path.name for path in (place / "deb").glob("*.deb"))
    for path in ours:
        assert path.read_bytes() == (place / "deb" / path.name).read_bytes(), path.name


@pytest.fixture
def bare(work, build_dir, debs):
    """A Debian with what our packages depend on; its archive holds these alone, for
    there is no network."""
    if not is_root():
        pytest.skip("not root")
    tree = work / "bare"
    archive = tree / "archive"
    archive.mkdir(parents=True)
    run("tar", "-C", tree, "--numeric-owner", "-xpf", base_path(build_dir, "bookworm"))
    for name in (AGENT, LIBRARY, DEVELOPMENT):
        shutil.copy(package(debs, name), archive)
    index = run("sh", "-c", "dpkg-scanpackages . 2>/dev/null", cwd=archive)
    (archive / "Packages").write_text(index)
    (tree / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/archive ./\n")
    for path in (tree / "etc/apt/sources.list.d").iterdir():
        path.unlink()
    return tree


def test_piuparts_finds_nothing_left_behind(debs, bare, work, tool):
    piuparts = tool("piuparts", "piuparts")
    said = call(piuparts, f"--existing-chroot={bare}", f"--tmpdir={work}",
                "--keep-sources-list", "--no-upgrade-test", "--skip-logrotatefiles-test",
                "--warn-on-others", "--skip-minimize",
                *(package(debs, name) for name in (AGENT, LIBRARY, DEVELOPMENT)))
    assert said.returncode == 0, said.stdout[-4000:]
    assert "PASS: Installation and purging test." in said.stdout


# --- rpm: built on Debian, to be installed elsewhere


@pytest.fixture(scope="module")
def rpms(tarball, work, tool):
    tool("rpmbuild", "rpm")
    run(TESTS.parent / "units/rpm/build", tarball, work / "rpm",
        env={**ENVIRONMENT, "HOME": str(work)})
    return work / "rpm"


def rpm_package(rpms, name):
    found = list(rpms.glob(f"{name}-[0-9]*.rpm"))
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def ask(rpms, name, *what):
    return run("rpm", "-qp", *what, rpm_package(rpms, name)).splitlines()


def test_three_rpms_are_built(rpms):
    names = {re.match(r"(.*?)-[0-9]", path.name)[1] for path in rpms.glob("*.rpm")}
    assert names - {f"{AGENT}-debuginfo", f"{AGENT}-debugsource"} == {
        AGENT, "libgce-oidc", "libgce-oidc-devel"}


def test_rpm_holds_units_presets_user_and_no_configuration(rpms):
    files = ask(rpms, AGENT, "--list")
    for path in ("/usr/lib/systemd/system/gce-oidc-agent.socket",
                 "/usr/lib/systemd/system/gce-oidc-agent.service",
                 "/usr/lib/systemd/system/gce-oidc-agent-lockdown.service",
                 "/usr/lib/systemd/system-preset/80-gce-oidc-agent.preset",
                 "/usr/lib/sysusers.d/gce-oidc-agent.conf",
                 "/usr/lib/systemd/catalog/gce-oidc-agent.catalog",
                 "/usr/lib/gce-oidc-agent/agent.conf.d/50-default.conf",
                 "/usr/sbin/gce-oidc-agent", "/usr/bin/gce-oidc"):
        assert path in files
    assert [path for path in files if not path.startswith("/usr/")] == []
    assert ask(rpms, AGENT, "--configfiles") == []
    assert "/usr/include/gce-oidc.h" in ask(rpms, "libgce-oidc-devel", "--list")


def test_rpm_needs_the_oldest_glibc_that_is_promised(rpms):
    """2.34: the glibc of Red Hat 9."""
    needs = ask(rpms, AGENT, "--requires")
    versions = {tuple(map(int, re.search(r"GLIBC_([0-9.]+)", line)[1].split(".")))
                for line in needs if "GLIBC_" in line}
    assert max(versions) <= (2, 34), needs
    for library in ("libcurl.so.4", "libcrypto.so.3", "libjson-c.so.5", "libsystemd.so.0"):
        assert any(line.startswith(library) for line in needs), needs
    library = ask(rpms, "libgce-oidc", "--requires")
    assert {line.partition("(")[0] for line in library if ".so" in line} <= {
        "libc.so.6", "ld-linux-x86-64.so.2"}


def test_rpm_scripts_make_the_user_first_and_restart_the_service_alone(rpms):
    scripts = "\n".join(ask(rpms, AGENT, "--scripts"))
    parts = re.split(r"^(preinstall|postinstall|preuninstall|postuninstall) .*$", scripts,
                     flags=re.M)
    script = dict(zip(parts[1::2], parts[2::2]))
    user = re.search(r"^u gce-oidc-agent .*$", script["preinstall"], re.M)[0]
    assert user in (TESTS.parent / "units/sysusers.d/gce-oidc-agent.conf").read_text()
    assert "preset gce-oidc-agent.socket gce-oidc-agent.service" in script["postinstall"]
    assert "disable --now gce-oidc-agent.socket" in script["preuninstall"]
    assert "try-restart gce-oidc-agent.service" in script["postuninstall"]
    assert not re.search(r"restart.*\.socket", scripts)


def test_rpm_is_installed_into_an_empty_root_and_its_programs_run(rpms, work):
    if not is_root():
        pytest.skip("not root")
    root = work / "empty"
    root.mkdir()
    rpm = ("rpm", f"--root={root}")
    files = [rpm_package(rpms, name) for name in (AGENT, "libgce-oidc", "libgce-oidc-devel")]
    run(*rpm, "--initdb")
    run(*rpm, "--install", "--nodeps", "--noscripts", *files)
    run(*rpm, "--verify", "--nodeps", AGENT, "libgce-oidc", "libgce-oidc-devel")
    version = run(root / "usr/sbin/gce-oidc-agent", "--version").split()[-1]
    assert version in files[0].name
    assert version in run(root / "usr/bin/gce-oidc", "--version")
    # The configuration that it holds is a good one.
    vendor = root / "usr/lib/gce-oidc-agent/agent.conf.d/50-default.conf"
    run(root / "usr/sbin/gce-oidc-agent", f"--config={vendor}", "--check-config")
    run(*rpm, "--erase", "--nodeps", "--noscripts", AGENT, "libgce-oidc",
        "libgce-oidc-devel")
    left = [path for path in root.rglob("*") if not path.is_dir() and
            "oidc" in path.name]
    assert left == []
