# SPDX-License-Identifier: Apache-2.0
"""Credential files: for machines that are not on Google's cloud. No metadata server is
asked, files that others could have read or written are refused, and what Google refuses
says what mends it."""

import json
import os
import subprocess
import sys

import pytest

from conftest import ANYONE, TESTS, wait_for
from credfiles import DESKTOP, TARGET, impersonated_file, user_file, write
from raw_http import ACCESS_FACE
from signing import rule
from steps import HURRY

AUDIENCE = "https://app.example.com"
ELSEWHERE = (sys.executable, TESTS / "e2e" / "launch.py", "--firmware=Another Machine")
HOP = "hop-sa@example-proj-123.iam.gserviceaccount.com"
USER = "user@example.com"
ADC = "application_default_credentials.json"


def without_metadata(emulator):
    """No metadata server is configured, and the default one is not there."""
    return "".join(line for line in emulator.agent_config().splitlines(True)
                   if not line.startswith("metadata ="))


class Files:
    """Credential files beside each other, in a directory that only we can write to."""

    def __init__(self, place):
        place.chmod(0o755)
        self.place = place

    def __call__(self, content, name="key.json", mode=0o600):
        return write(self.place / name, content, mode)


@pytest.fixture
def files(place):
    return Files(place)


@pytest.fixture
def start(start_agent, emulator):
    """An agent on a machine that is not Google's, with these credentials."""
    def start(path, config="", upstream=None, **more):
        return start_agent(HURRY + f"[account default]\ncredentials = {path}\n" + config,
                           upstream=upstream or without_metadata(emulator),
                           prefix=more.pop("prefix", ELSEWHERE), **more)
    return start


def refusal(start, path, **more):
    """What an agent says that does not start with these credentials."""
    agent = start(path, wait=False, **more)
    assert agent.wait() == 78
    return agent.log()


# --- a service account's key


def test_key_file_gives_id_tokens_without_a_metadata_server(start, emulator, files):
    agent = start(files(emulator.key_file()))
    answer = agent.token(AUDIENCE)
    claims = emulator.verify(answer.text, AUDIENCE)
    assert claims["email"] == emulator.email
    assert answer.headers["Gce-Oidc-Flow"] == "keyfile"
    assert agent.get("/healthz").status == 200
    face = "/computeMetadata/v1/instance/service-accounts/default/"
    assert agent.get(f"{face}email").text == emulator.email
    emulator.verify(agent.get(f"{face}identity?audience={AUDIENCE}/2").text, f"{AUDIENCE}/2")
    counts = emulator.counts()
    assert counts["token-endpoint"]["total"] == 2
    assert (counts["metadata"]["total"], counts["iam"]["total"]) == (0, 0)


ADVISORY = "policy is advisory"


def test_policy_is_no_advice_where_the_account_is_a_files(start, emulator, files):
    """Nobody can have that account at the metadata server, open or not."""
    agent = start(files(emulator.key_file()), upstream=emulator.agent_config(),
                  rules=ANYONE + "[rule me]\nuser = root\nkind = admin\n")
    with_file = agent.config.read_text()

    def reload(text):
        agent.configure(text)
        assert agent.get("/v1/reload", method="POST",
                         headers={"Content-Type": "application/json"}).status in (200, 204)
    assert agent.token(AUDIENCE).status == 200
    assert ADVISORY not in agent.log()
    reload("".join(line for line in with_file.splitlines(True) if "credentials =" not in line))
    agent.wait_log(ADVISORY)
    reload(with_file)
    reload(with_file)
    assert agent.log().count(ADVISORY) == 1


def header_of(emulator):
    body = emulator.requests("token-endpoint")[-1]["body"]
    assertion = body.partition("assertion=")[2]
    text = assertion.partition(".")[0]
    import base64
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_assertion_names_the_key_of_the_file(start, emulator, files):
    file = emulator.key_file()
    agent = start(files(file))
    assert agent.token(AUDIENCE).status == 200
    assert header_of(emulator) == {"alg": "RS256", "kid": file["private_key_id"], "typ": "JWT"}


@pytest.mark.parametrize("flow", ["signblob", "generate"])
def test_key_files_account_may_have_iam_sign_for_it(start, emulator, files, flow):
    agent = start(files(emulator.key_file()), f"flows = {flow}\n")
    answer = agent.token(AUDIENCE)
    assert emulator.verify(answer.text, AUDIENCE)["email"] == emulator.email
    assert answer.headers["Gce-Oidc-Flow"] == flow
    assert emulator.counts()["iam"]["total"] == 1


@pytest.mark.parametrize("impersonated", [False, True], ids=["key", "impersonated"])
def test_account_of_a_file_that_there_is_no_more_takes_another_file(start, emulator, files,
                                                                    impersonated):
    emulator.set(accounts=[TARGET])
    emulator.fault("iam", "status", reason="NOT_FOUND")
    key = emulator.key_file()
    agent = start(files(impersonated_file(key) if impersonated else key), "flows = generate\n")
    answer = agent.token(AUDIENCE, Accept="application/json")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google")
    assert json.loads(answer.text)["hint"] == (
        f"gcloud iam service-accounts describe {TARGET if impersonated else emulator.email}; "
        "have credentials in [account default] name the file of one that exists")


def test_deleted_key_is_denied_by_google_and_a_new_one_takes_a_reload(start, emulator, files):
    file = emulator.key_file()
    path = files(file)
    agent = start(path, rules=ANYONE + "[rule me]\nuser = root\nkind = admin\n")
    assert agent.token(AUDIENCE).status == 200
    emulator.delete_key(file["private_key_id"])
    answer = agent.token(f"{AUDIENCE}/2", Accept="application/json")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google")
    error = json.loads(answer.text)
    assert file["private_key_id"] in error["error_description"]
    assert "gcloud iam service-accounts keys create FILE" in error["hint"]

    files(emulator.key_file())
    assert agent.get("/v1/reload", method="POST",
                     headers={"Content-Type": "application/json"}).status in (200, 204)
    emulator.verify(agent.token(f"{AUDIENCE}/2").text, f"{AUDIENCE}/2")


def test_wrong_key_in_the_file_is_mended_by_a_reload(start, emulator, files):
    right = emulator.key_file()
    agent = start(files({**right, "private_key": emulator.key_file()["private_key"]}),
                  rules=ANYONE + "[rule me]\nuser = root\nkind = admin\n")
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Error"] == "denied-by-google"
    files(right)
    assert agent.get("/v1/reload", method="POST",
                     headers={"Content-Type": "application/json"}).status in (200, 204)
    emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)


def test_other_account_in_the_file_is_in_force_with_a_reload(start, emulator, files):
    other = "other-sa@example-proj-123.iam.gserviceaccount.com"
    emulator.set(accounts=[other])
    agent = start(files(emulator.key_file()),
                  rules=ANYONE + "[rule me]\nuser = root\nkind = admin\n")
    assert emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)["email"] == emulator.email
    files(emulator.key_file(other))
    agent.get("/v1/reload", method="POST", headers={"Content-Type": "application/json"})
    # Nothing that was cached is the other account's.
    assert emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)["email"] == other
    files(user_file())
    agent.get("/v1/reload", method="POST", headers={"Content-Type": "application/json"})
    token = agent.token(emulator.iap_client_id)
    assert emulator.verify(token.text, emulator.iap_client_id)["email"] == USER


def test_broken_file_on_reload_leaves_the_key_in_force(start, emulator, files):
    agent = start(files(emulator.key_file()),
                  rules=ANYONE + "[rule me]\nuser = root\nkind = admin\n")
    files("{}")
    answer = agent.get("/v1/reload", method="POST", headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert "type is missing" in answer.text
    assert agent.token(AUDIENCE).status == 200


def test_clock_that_is_wrong_is_corrected_for_key_files_too(start, emulator, files):
    emulator.set(clock_offset=-400)
    agent = start(files(emulator.key_file()))
    emulator.set(skew_tolerance=10)
    # Two answers that agree teach the agent what time it is.
    wait_for(lambda: agent.token(AUDIENCE).status == 200, "the clock is learned")


NOTHING_REMEMBERED = "unavailable = 0\ndenied = 0\n"


@pytest.fixture
def start_with_key(start_agent, emulator, files):
    """An agent with a key file, which remembers no failure."""
    def start_with_key():
        path = files(emulator.key_file())
        return start_agent(HURRY + NOTHING_REMEMBERED + f"[account default]\ncredentials = {path}\n",
                           ANYONE + rule("access", name="access"), upstream=without_metadata(emulator),
                           prefix=ELSEWHERE)
    return start_with_key


def first_and_access(agent, emulator):
    """An ID token, by which Google's clock is heard of once, and then an access token."""
    emulator.set(clock_offset=-300)
    assert agent.token(AUDIENCE).status == 200
    emulator.set(skew_tolerance=30)
    asked = len(emulator.requests("token-endpoint"))
    answer = agent.get(ACCESS_FACE)
    return answer, len(emulator.requests("token-endpoint")) - asked


def test_assertion_for_an_access_token_refused_for_its_date_is_made_once_more(
        start_with_key, emulator):
    answer, asked = first_and_access(start_with_key(), emulator)
    assert (answer.status, asked) == (200, 2)


def test_assertion_for_an_access_token_is_made_once_more_and_no_oftener(start_with_key, emulator):
    emulator.fault("token-endpoint", "status", reason="time", after=1)
    answer, asked = first_and_access(start_with_key(), emulator)
    assert (answer.status, asked) == (503, 2)
    assert "chronyc makestep" in answer.text


# --- somebody who signed in


def test_user_file_gives_the_users_token_for_another_client_of_the_project(start, emulator, files):
    agent = start(files(user_file()))
    answer = agent.token(emulator.iap_client_id)
    claims = emulator.verify(answer.text, emulator.iap_client_id)
    assert (claims["email"], claims["azp"]) == (USER, DESKTOP)
    assert answer.headers["Gce-Oidc-Flow"] == "user"
    wait_for(lambda: agent.get("/healthz").status == 200, "it is known who it is")
    assert emulator.counts()["metadata"]["total"] == 0


def test_who_is_asked_in_vain_is_named(start, emulator, files):
    """Not the metadata server, which nobody has asked."""
    emulator.fault("token-endpoint", "hang")
    agent = start(files(user_file()))
    for answer in (agent.token(emulator.iap_client_id, Prefer="wait=1"), agent.get("/healthz")):
        assert answer.status == 503
        assert "no answer from the token endpoint yet" in answer.text


def test_request_takes_a_user_to_a_page_behind_iap(start, emulator, files, build_dir):
    agent = start(files(user_file()))
    result = subprocess.run(
        [build_dir / "gce-oidc", "request", f"{emulator.app}/page", f"--socket={agent.socket}",
         f"--audience={emulator.iap_client_id}", f"--cacert={emulator.ca_file}"],
        capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert f"Hello {USER}" in result.stdout


def test_request_calls_a_person_a_user_in_the_command_that_mends(start, emulator, files, build_dir):
    emulator.set(iap_members=[])
    agent = start(files(user_file()))
    result = subprocess.run(
        [build_dir / "gce-oidc", "request", f"{emulator.app}/page", f"--socket={agent.socket}",
         f"--audience={emulator.iap_client_id}", f"--cacert={emulator.ca_file}"],
        capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 6
    assert f"User {USER} does not have permission" in result.stderr
    assert f"--member=user:{USER} --role=roles/iap.httpsResourceAccessor" in result.stderr


REFUSALS = {
    "revoked": ({"user_state": "revoked"}, "has expired or was revoked", "sign in again"),
    "rapt_required": ({"user_state": "rapt_required"}, "wants the user to sign in again",
                      "gcloud auth application-default login"),
    "invalid_rapt": ({"user_state": "invalid_rapt"}, "wants the user to sign in again",
                     "gcloud auth application-default login"),
    "another token": ({"user_refresh_token": "another"}, "has expired or was revoked",
                      "sign in again"),
    "another client": ({"user_client_secret": "another"}, "OAuth client of the credentials",
                       "make an OAuth client"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_refused_refresh_token_says_what_mends_it(start, emulator, files, why):
    settings, words, hint = REFUSALS[why]
    emulator.set(**settings)
    agent = start(files(user_file()))
    answer = agent.token(emulator.iap_client_id, Accept="application/json")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google")
    error = json.loads(answer.text)
    assert words in error["error_description"]
    assert hint in error["hint"]
    # Not asked over and over.
    assert emulator.counts()["token-endpoint"]["total"] <= 2


def test_audience_of_another_project_is_denied_for_that_audience_alone(start, emulator, files):
    agent = start(files(user_file()))
    answer = agent.token("999999999999-x.apps.googleusercontent.com", Accept="application/json")
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google")
    assert "of another project" in json.loads(answer.text)["error_description"]
    emulator.verify(agent.token(emulator.iap_client_id).text, emulator.iap_client_id)


@pytest.mark.parametrize("flow", ["signblob", "generate", "metadata", "keyfile"])
def test_user_credentials_are_refused_in_a_service_accounts_flow(start, files, flow):
    log = refusal(start, files(user_file()), config=f"flows = {flow}\n")
    assert f"flows: flow {flow} is only supported for service account credentials" in log


@pytest.mark.parametrize("flow", ["keyfile", "user"])
def test_flow_of_a_file_needs_one(start_agent, flow):
    agent = start_agent(f"[account default]\nflows = {flow}\n", wait=False)
    assert agent.wait() == 78
    assert f"flows: flow {flow} needs credentials, and there are none" in agent.log()


def test_users_file_in_the_agent_is_a_warning(start, emulator, files):
    path = files(user_file())
    agent = start(path)
    agent.wait_log("every process that a rule admits acts as that user")


@pytest.mark.parametrize("who", [f"user {USER}", f"service account {TARGET}"])
def test_who_is_found_is_called_what_they_are(start, emulator, files, who):
    emulator.set(accounts=[TARGET])
    agent = start(files(impersonated_file(user_file()) if TARGET in who else user_file()))
    agent.wait_log(f" {who} found")
    assert f"service account {USER}" not in agent.log()


# --- an account by another's


@pytest.mark.parametrize("source", ["user", "key"])
@pytest.mark.parametrize("delegates", [(), (HOP,)], ids=["direct", "delegate"])
@pytest.mark.parametrize("flow", ["signblob", "generate"])
def test_impersonated_account_is_the_target(start, emulator, files, source, delegates, flow):
    emulator.set(accounts=[TARGET])
    by = user_file() if source == "user" else emulator.key_file()
    agent = start(files(impersonated_file(by, delegates)), f"flows = {flow}\n")
    answer = agent.token(AUDIENCE)
    claims = emulator.verify(answer.text, AUDIENCE)
    assert claims["email"] == TARGET
    assert answer.headers["Gce-Oidc-Flow"] == flow
    asked = emulator.requests("iam")
    assert all(TARGET in request["target"] for request in asked)
    assert all((HOP in request["body"]) is bool(delegates) for request in asked)
    assert emulator.counts()["metadata"]["total"] == 0


def test_impersonation_by_a_revoked_user_is_denied_by_google(start, emulator, files):
    emulator.set(accounts=[TARGET], user_state="revoked")
    agent = start(files(impersonated_file(user_file())))
    answer = agent.token(AUDIENCE)
    assert (answer.status, answer.headers["Gce-Oidc-Error"]) == (403, "denied-by-google")
    assert "has expired or was revoked" in answer.text


@pytest.mark.parametrize("flow", ["signblob", "generate"])
def test_person_who_may_not_impersonate_is_a_user_in_the_command_that_mends(
        start, emulator, files, flow):
    emulator.set(accounts=[TARGET], grants={})
    agent = start(files(impersonated_file(user_file())), f"flows = {flow}\n")
    answer = agent.token(AUDIENCE, Accept="application/json")
    assert answer.status == 403
    assert f"add-iam-policy-binding {TARGET} --member=user:{USER} " in json.loads(answer.text)["hint"]


# --- whose file it is


def test_key_that_others_can_read_is_refused_with_the_chmod(start, emulator, files):
    for mode in (0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610):
        path = files(emulator.key_file(), f"{mode:o}.json", mode)
        log = refusal(start, path)
        assert f"credentials: {path}: others than its owner can read or write it" in log
        assert f"(mode {mode:04o})" in log
        assert f"chmod 600 {path}" in log


def test_key_of_somebody_else_is_refused(start, emulator, files):
    path = files(emulator.key_file())
    try:
        os.chown(path, 12345, 12345)
    except PermissionError:
        pytest.skip("not root outside of a user namespace")
    assert f"{path}: belongs to uid 12345, who is neither root nor uid 0" in refusal(start, path)


def test_symbolic_link_to_a_key_is_refused(start, emulator, files):
    path = files(emulator.key_file(), "real.json")
    link = files.place / "link.json"
    link.symlink_to(path)
    assert f"{link}: a symbolic link: name the file itself" in refusal(start, link)


def test_key_in_a_directory_that_others_can_write_to_is_refused(start, emulator, files):
    directory = files.place / "open"
    directory.mkdir()
    path = write(directory / "key.json", emulator.key_file())
    directory.chmod(0o777)
    assert f"{path}: its directory: others than its owner can write to it" in refusal(start, path)


def test_what_is_no_file_is_refused(start, files):
    missing = files.place / "missing.json"
    assert f"credentials: {missing}: cannot be opened: No such file" in refusal(start, missing)
    directory = files.place / "directory"
    directory.mkdir(mode=0o700)
    assert f"{directory}: not a regular file" in refusal(start, directory)
    fifo = files.place / "fifo"
    os.mkfifo(fifo, 0o600)
    assert f"{fifo}: not a regular file" in refusal(start, fifo)
    assert "larger than 64 KiB" in refusal(start, files(" " * 65537))
    assert "neither an absolute path nor adc" in refusal(start, "key.json")


@pytest.mark.parametrize("field, value, words", [
    ("type", None, "type is missing"),
    ("type", "external_account", "type external_account is not supported"),
    ("client_email", None, "client_email is missing"),
    ("client_email", "user@example.com", "client_email is not a service account's address"),
    ("private_key_id", 7, "private_key_id is not a string"),
    ("private_key", "", "private_key is empty"),
    ("private_key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
     "private_key is no RSA key that could be used"),
    ("token_uri", "https://evil.example/token", "token_uri https://evil.example/token is not"),
    ("universe_domain", "example.org", "universe_domain is example.org"),
], ids=str)
def test_broken_field_is_named(start, emulator, files, field, value, words):
    content = {**emulator.key_file(), field: value}
    path = files({name: value for name, value in content.items() if value is not None})
    log = refusal(start, path)
    assert f"credentials: {path}: {words}" in log
    assert "BEGIN" not in log.partition(words)[2].partition("of its own")[0].replace(words, "")


def test_check_config_judges_the_file(build_dir, emulator, files):
    path = files(emulator.key_file(), mode=0o644)
    config = write(files.place / "agent.conf", f"[account default]\ncredentials = {path}\n", 0o644)
    result = subprocess.run([build_dir / "gce-oidc-agent", f"--config={config}", "--check-config"],
                            capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 78
    assert result.stderr.startswith(f"{config}:2: credentials: {path}: others than") or \
        f"{config}:2: credentials: {path}: others than" in result.stderr


# --- handed over by the service manager


def test_credential_of_the_service_manager_is_taken(start, emulator, files):
    """Its access list shows as the group's right to read."""
    directory = files.place / "credentials"
    directory.mkdir(mode=0o700)
    path = write(directory / "key", emulator.key_file(), 0o440)
    assert "others than its owner can read" in refusal(start, path)
    agent = start(path, env={"CREDENTIALS_DIRECTORY": str(directory)})
    assert agent.token(AUDIENCE).status == 200


def test_agent_of_another_user_takes_files_of_its_own_and_roots(start, emulator, files):
    files.place.chmod(0o755)
    path = files(emulator.key_file())
    try:
        os.chown(path, 65534 - 1000, 65534 - 1000)
    except PermissionError:
        pytest.skip("not root outside of a user namespace")
    agent = start(path, user=65534 - 1000, prefix=())
    assert agent.token(AUDIENCE).status == 200


# --- adc


def adc(start, emulator, env, **more):
    clean = {"HOME": "/nonexistent", "CLOUDSDK_CONFIG": "", "GOOGLE_APPLICATION_CREDENTIALS": ""}
    return start("adc", env={**clean, **env}, **more)


def test_adc_takes_what_the_libraries_take_in_their_order(start, emulator, files):
    other = "other-sa@example-proj-123.iam.gserviceaccount.com"
    third = "third-sa@example-proj-123.iam.gserviceaccount.com"
    emulator.set(accounts=[other, third])
    named = files(emulator.key_file(), "named.json")
    (files.place / "sdk").mkdir(mode=0o700)
    write(files.place / "sdk" / ADC, emulator.key_file(other))
    home = files.place / "home" / ".config" / "gcloud"
    home.mkdir(parents=True, mode=0o700)
    write(home / ADC, emulator.key_file(third))
    env = {"HOME": str(files.place / "home"), "CLOUDSDK_CONFIG": str(files.place / "sdk"),
           "GOOGLE_APPLICATION_CREDENTIALS": str(named)}
    for email, gone in ((emulator.email, "GOOGLE_APPLICATION_CREDENTIALS"),
                        (other, "CLOUDSDK_CONFIG"), (third, "HOME")):
        agent = adc(start, emulator, env)
        assert emulator.verify(agent.token(AUDIENCE).text, AUDIENCE)["email"] == email
        env[gone] = ""


def test_adc_without_a_file_is_the_metadata_server(start, emulator):
    agent = adc(start, emulator, {}, upstream=emulator.agent_config())
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Flow"] == "signblob"


def test_adc_that_names_a_missing_file_is_an_error(start, emulator):
    agent = adc(start, emulator, {"GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/x.json"},
                wait=False)
    assert agent.wait() == 78
    assert "adc: GOOGLE_APPLICATION_CREDENTIALS: /nonexistent/x.json: cannot be opened" \
        in agent.log()


def test_adc_of_a_service_takes_files_below_etc_only(start, emulator, files):
    path = files(emulator.key_file())
    home = files.place / "home" / ".config" / "gcloud"
    home.mkdir(parents=True, mode=0o700)
    write(home / ADC, emulator.key_file())
    service = {"NOTIFY_SOCKET": str(files.place / "nobody")}
    agent = adc(start, emulator, {**service, "GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    answer = agent.token(AUDIENCE)
    assert answer.status == 503
    assert "a service takes files below /etc only" in answer.text
    # Nobody's home counts, either.
    agent = adc(start, emulator, {**service, "HOME": str(files.place / "home")},
                upstream=emulator.agent_config())
    assert agent.token(AUDIENCE).headers["Gce-Oidc-Flow"] == "signblob"


def test_fetch_needs_no_metadata_server(build_dir, emulator, files):
    config = write(files.place / "agent.conf", without_metadata(emulator) +
                   "[account default]\ncredentials = adc\n", 0o644)
    path = files(emulator.key_file())
    result = subprocess.run(
        [build_dir / "gce-oidc-agent", f"--config={config}", f"--fetch={AUDIENCE}"],
        env=dict(os.environ, GOOGLE_APPLICATION_CREDENTIALS=str(path)),
        capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert emulator.verify(result.stdout.strip(), AUDIENCE)["email"] == emulator.email


def test_fetch_with_a_revoked_token_says_what_mends_it(build_dir, emulator, files):
    emulator.set(user_state="revoked")
    config = write(files.place / "agent.conf", without_metadata(emulator) +
                   f"[account default]\ncredentials = {files(user_file())}\n", 0o644)
    result = subprocess.run(
        [build_dir / "gce-oidc-agent", f"--config={config}",
         f"--fetch={emulator.iap_client_id}"],
        capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (6, "")
    assert "gcloud auth application-default login" in result.stderr


def test_flows_that_go_with_the_file_are_dumped(build_dir, emulator, files):
    for name, content, flows in (
            ("key", emulator.key_file(), "keyfile"), ("user", user_file(), "user"),
            ("impersonated", impersonated_file(user_file()), "signblob generate")):
        path = files(content, f"{name}.json")
        config = write(files.place / "agent.conf", "[account default]\n"
                       f"credentials = {path}\n", 0o644)
        result = subprocess.run(
            [build_dir / "gce-oidc-agent", f"--config={config}", "--dump-config"],
            capture_output=True, text=True, check=False, timeout=60)
        assert f"\nflows = {flows}\n" in result.stdout, result.stderr
        assert "EXAMPLE-CLIENT-SECRET" not in result.stdout
