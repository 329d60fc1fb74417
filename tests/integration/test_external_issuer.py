"""People and programs of an organisation's own issuer: the certified `oidc-provider`, a browser, the command line."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from deploy.local_stack import BIN, LocalStack, Person, browse_sign_in, free_port
from tests.builders.oidc_provider import PIPELINE, OidcProvider, oidc_provider

pytestmark = pytest.mark.peer
ADMIN = Person("admin", "admin-test-password", ())
PEOPLE = {"ada": {"name": "Ada of Work", "groups": ["payments"]}, "grace": {"name": "Grace of Work", "groups": ["ops"]}}
POLICY = """\
apiVersion: probegate/v1
kind: Policy
groups:
- {{issuer: "{issuer}", group: ops, roles: [viewer]}}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    directory = tmp_path_factory.mktemp("issuer")
    stack = LocalStack(directory / "stack")
    stack.http_port, stack.grpc_port = free_port(), free_port()
    with oidc_provider(directory / "provider", stack.url, PEOPLE) as provider:
        stack.settings = {"PROBEGATE_ISSUERS": provider.settings(directory / "console-secret")}
        stack.provider = provider
        try:
            stack.start_server([ADMIN], administrator=ADMIN)
            stack.server_command("member", "add", stack.tenant, f"{provider.url}|ada", "developer")
            stack.server_command("member", "add", stack.tenant, f"{provider.url}|{PIPELINE[0]}", "viewer")
            yield stack
        finally:
            stack.close()


@pytest.fixture(scope="module")
def provider(stack: LocalStack) -> OidcProvider:
    return stack.provider


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's; playwright's own is not fetched."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def person(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context()
    yield context
    context.close()


def at_the_issuer(page: Page, name: str) -> None:
    """Its own pages: a name, any password, and yes to what the client asks for."""
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", "anything")
    page.click("button[type=submit]")
    agree(page)


def agree(page: Page) -> None:
    if "/interaction/" in page.url:
        page.click("button[type=submit]")


def sign_in(page: Page, stack: LocalStack, name: str) -> None:
    page.goto(f"{stack.url}/console/acme/templates")
    page.click("text=Work")
    at_the_issuer(page, name)
    page.wait_for_url(f"{stack.url}/console/**")


class Terminal:
    """`probegate login` as a process, and what it says."""

    def __init__(self, stack: LocalStack, who: str, *options: str, **environment: str) -> None:
        self.environment = {
            **stack.environment(),
            "PROBEGATE_CONFIG": str(stack.directory / f"{who}.json"),
            **environment,
        }
        command = [str(BIN / "probegate"), "login", "--server", stack.url, "--tenant", "acme", "--issuer", "work"]
        self.process = subprocess.Popen(
            [*command, *options], env=self.environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def said(self, pattern: str) -> str:
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError("".join(lines))

    def ends(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "probegate"), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_person_signs_in_by_code_and_pkce_in_a_browser(stack: LocalStack, person: BrowserContext) -> None:
    page = person.new_page()
    sign_in(page, stack, "ada")

    assert page.url == f"{stack.url}/console/acme/templates"
    assert "Ada of Work" in page.inner_text("header")
    cookies = {cookie["name"]: cookie for cookie in person.cookies(stack.url)}
    assert cookies["probegate"]["httpOnly"]
    assert cookies["probegate"]["sameSite"] == "Lax"
    assert "probegate-attempt" not in cookies
    assert "eyJ" not in page.content() + page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie])"
    )


def test_a_group_of_the_issuer_is_a_role_in_the_console_too(
    stack: LocalStack, provider: OidcProvider, person: BrowserContext
) -> None:
    page = person.new_page()
    sign_in(page, stack, "grace")
    assert "there is no tenant" in page.inner_text("main"), "she is no member"

    admin = Terminal(stack, "admin", "--no-browser", "--issuer", "probegate")
    browse_sign_in(admin.said(r"^(http\S+)$"), ADMIN)
    assert admin.ends() == 0
    policy = stack.directory / "policy.yaml"
    policy.write_text(POLICY.format(issuer=provider.url))
    applied = admin.run("policy", "apply", str(policy))
    assert applied.returncode == 0, applied.stderr

    page.goto(f"{stack.url}/console/acme/templates")
    assert "Templates" in page.inner_text("main")


def test_the_command_line_signs_in_by_loopback(
    stack: LocalStack, provider: OidcProvider, person: BrowserContext
) -> None:
    terminal = Terminal(stack, "ada-loopback", "--no-browser")
    page = person.new_page()
    page.goto(terminal.said(r"^(http\S+)$"))
    at_the_issuer(page, "ada")
    page.wait_for_url("http://127.0.0.1:*/callback?**")

    assert terminal.ends() == 0
    assert f"{provider.url}|ada" in terminal.run("whoami", "-o", "json").stdout
    assert terminal.run("template", "ls").returncode == 0


def test_the_command_line_signs_in_by_device_code(
    stack: LocalStack, provider: OidcProvider, person: BrowserContext
) -> None:
    terminal = Terminal(stack, "ada-device", "--device")
    address = terminal.said(r"open (\S+)")
    code = terminal.said(r"confirm the code (\S+)")
    page = person.new_page()
    page.goto(address)
    assert code in page.content().replace("&#45;", "-")
    page.click("button[type=submit]")
    at_the_issuer(page, "ada")
    page.wait_for_selector("text=Sign-in Success")

    assert terminal.ends() == 0
    assert f"{provider.url}|ada" in terminal.run("whoami", "-o", "json").stdout


def test_a_program_signs_in_by_its_secret_and_is_a_service(stack: LocalStack, provider: OidcProvider) -> None:
    terminal = Terminal(stack, "pipeline", "--client-id", PIPELINE[0], PROBEGATE_CLIENT_SECRET=PIPELINE[1])

    assert terminal.ends() == 0
    me = terminal.run("whoami", "-o", "json").stdout
    assert '"kind": "service"' in me
    assert f"{provider.url}|{PIPELINE[0]}" in me


def test_signing_out_ends_the_session_here_and_at_the_issuer(stack: LocalStack, person: BrowserContext) -> None:
    page = person.new_page()
    sign_in(page, stack, "ada")
    page.click("text=Sign out")
    page.click("text=sign out at Work, too")
    page.wait_for_url("**/session/end**")
    assert "eyJ" not in page.url
    page.click("button[value=yes]")
    page.wait_for_url(f"{stack.url}/console/signed-out")

    page.goto(f"{stack.url}/console/acme/templates")
    page.click("text=Work")
    assert page.is_visible("input[name=login]"), "the issuer asks again who it is"


def test_the_issuer_ends_the_session_through_the_back_channel(
    stack: LocalStack, provider: OidcProvider, person: BrowserContext
) -> None:
    page = person.new_page()
    sign_in(page, stack, "ada")
    elsewhere = person.new_page()
    elsewhere.goto(f"{provider.url}/session/end")
    elsewhere.click("button[value=yes]")
    elsewhere.wait_for_url("**/session/end/success**")

    page.goto(f"{stack.url}/console/acme/templates")
    assert "/console/sign-in" in page.url
