"The way in and out of the pages, and how much of the server one visitor can take"
import http.client
import http.cookiejar
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing

import psutil
import pytest

from gradeclass.pages.door import Places, Tries, address_of
from nginx_helpers import behind_nginx, needs_nginx
from pages_helpers import PATIENCE, TOKEN, Server, expect

PAGES = ("predict", "class", "explore", "about", "manage")


@pytest.fixture(scope="module")
def small(trained, tmp_path_factory):
    "A server with four places, whose tries and processes no other test shares"
    outputs = tmp_path_factory.mktemp("door")/"outputs"
    outputs.mkdir()
    server = Server(outputs, pool=1, most=4, model=str(trained))
    yield server
    server.close()


def log_in(page, code):
    page.get_by_label("Access code").fill(code)
    page.get_by_role("button", name="Log in").click()


def opener():
    "A client that keeps its cookies"
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))


def kernels(server):
    "How many processes there are: of visitors, and those that are kept ready"
    return sum(child.is_running() and child.status() != psutil.STATUS_ZOMBIE
               for child in psutil.Process(server.process.pid).children(recursive=True))


def settled(server, most=120):
    "The same number, once it has not changed for some seconds"
    seen = [kernels(server)]
    while len(seen) < most and len(set(seen[-6:])) + (len(seen) < 6) > 1:
        time.sleep(1)
        seen.append(kernels(server))
    return seen[-1]


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_form_refuses_a_wrong_code_and_goes_on_to_the_page_with_the_right_one(browser, server, name):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.base}/{name}")
    log_in(page, "wrong")
    page.wait_for_selector("text=That is not the token")
    log_in(page, f" {TOKEN} ")
    page.wait_for_selector(".gc-page, .gc-stack", timeout=60_000)
    assert page.url == f"{server.base}/{name}"
    page.get_by_role("link", name="Log out").click()
    page.wait_for_selector("text=Access code")
    page.goto(f"{server.base}/{name}")
    assert "/login" in page.url
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    assert all(cookie["sameSite"] == "Lax" for cookie in cookies.values()), cookies
    context.close()


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_after_a_restart_the_form_lets_in_whoever_has_the_new_code(browser, trained, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    first = Server(outputs, pool=0, model=str(trained))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{first.base}/about?token={TOKEN}")
    page.wait_for_selector(".gc-facts", timeout=60_000)
    assert page.url == f"{first.base}/about"
    first.close()
    port = int(first.base.rpartition(":")[2])
    second = Server(outputs, pool=0, model=str(trained), token="the-next-token", port=port)
    try:
        page.goto(f"{second.base}/about")
        log_in(page, TOKEN)
        page.wait_for_selector("text=That is not the token")
        log_in(page, "the-next-token")
        page.wait_for_selector(".gc-facts", timeout=60_000)
    finally: second.close()
    context.close()


def answer_of(server, path, **headers):
    "Status, address to go on to, and cookies of one request"
    connection = http.client.HTTPConnection(server.base.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("Location"), answer.headers.get_all("Set-Cookie") or []


@pytest.mark.process
@pytest.mark.slow
def test_cookie_of_a_login_stays_on_this_site_and_on_an_encrypted_connection(small):
    for scheme in ("http", "https"):
        _, _, cookies = answer_of(small, f"/about?token={TOKEN}", **{"X-Forwarded-Proto": scheme})
        login = [cookie for cookie in cookies if cookie.startswith("username-")]
        assert len(login) == 1 and "SameSite=Lax" in login[0] and "HttpOnly" in login[0]
        assert ("Secure" in login[0]) == (scheme == "https")
        assert all("SameSite=Lax" in cookie for cookie in cookies)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("path", ["", *PAGES])
def test_token_is_left_in_no_address(path, small):
    status, address, _ = answer_of(small, f"/{path}?token={TOKEN}")
    assert status == 302 and address == f"/{path or 'predict'}"


@pytest.mark.process
@pytest.mark.slow
def test_requests_of_one_browser_leave_room_for_the_next_and_their_processes_end(small):
    greedy = opener()
    # A first visitor, so that what is kept ready is there, however slowly this machine starts it
    opener().open(f"{small.base}/predict?token={TOKEN}", timeout=60).read()
    time.sleep(11) # As long as a page may take to connect
    before = settled(small)
    for _ in range(12): greedy.open(f"{small.base}/about?token={TOKEN}", timeout=60).read()
    assert kernels(small) <= before + 5 # Three of this browser, and those that are just starting or ending
    assert b"jupyter-config-data" in opener().open(f"{small.base}/predict?token={TOKEN}", timeout=60).read()
    time.sleep(11) # As long as a page may take to connect
    assert settled(small) <= before


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_fourth_page_of_a_browser_closes_the_oldest_and_says_why(browser, small):
    context = browser.new_context()
    pages = [context.new_page() for _ in range(4)]
    for page in pages:
        page.goto(f"{small.base}/about?token={TOKEN}")
        page.wait_for_selector(".gc-facts", timeout=60_000)
    pages[0].bring_to_front()
    pages[0].wait_for_selector(".gc-lost:not([hidden])", timeout=60_000)
    expect(pages[0].locator(".gc-lost")).to_contain_text("more than three pages")
    assert all(page.locator(".gc-lost").is_hidden() for page in pages[1:])
    context.close()


class KeepHere(urllib.request.HTTPRedirectHandler):
    "Follows no redirect"
    def redirect_request(self, *_): return None


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("then", ["/about\r\nX-Kind: odd", "//evil.example", "/\t/evil.example", "https://evil.example", "\\\\evil.example"])
def test_login_goes_on_within_these_pages_alone(then, small):
    jar = http.cookiejar.CookieJar()
    visitor = urllib.request.build_opener(KeepHere, urllib.request.HTTPCookieProcessor(jar))
    visitor.open(f"{small.base}/login", timeout=60)
    xsrf = next(cookie.value for cookie in jar if cookie.name == "_xsrf")
    form = urllib.parse.urlencode({"password": TOKEN, "_xsrf": xsrf, "next": then}).encode()
    with pytest.raises(urllib.error.HTTPError) as answer: visitor.open(f"{small.base}/login", form, timeout=60)
    assert answer.value.code == 302 and re.fullmatch(r"/(?![/\\]).*", answer.value.headers["Location"])


@pytest.mark.process
@pytest.mark.slow
def test_wrong_codes_close_the_door_for_a_while_but_not_to_those_inside(small):
    inside, guesser = opener(), opener()
    inside.open(f"{small.base}/about?token={TOKEN}", timeout=60).read()
    form = guesser.open(f"{small.base}/login", timeout=60).read().decode()
    xsrf = form.split('name="_xsrf" value="')[1].split('"')[0]
    statuses = []
    for code in [f"guess {number}" for number in range(12)] + [TOKEN]:
        data = urllib.parse.urlencode({"password": code, "_xsrf": xsrf}).encode()
        try: statuses.append(guesser.open(f"{small.base}/login", data, timeout=60).status)
        except urllib.error.HTTPError as error: statuses.append(error.code)
    assert statuses == [401]*10 + [429]*3
    assert "/login" in guesser.open(f"{small.base}/about?token={TOKEN}", timeout=60).url
    assert "/login" not in inside.open(f"{small.base}/about", timeout=60).url


@pytest.mark.process
@pytest.mark.slow
def test_page_of_another_site_can_end_no_process(small):
    visitor = opener()
    request = urllib.request.Request(f"{small.base}/leave/0d3b0b0e-0000-0000-0000-000000000000", b"", method="POST",
                                     headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused: visitor.open(request, timeout=60)
    assert refused.value.code in (403, 404)


def test_what_no_form_sends_is_refused_before_it_is_read(small):
    line = http.client.HTTPConnection(small.base.removeprefix("http://"), timeout=30)
    line.putrequest("POST", "/login")
    line.putheader("Content-Length", "90000000")
    line.endheaders()
    assert line.getresponse().status == 400
    line.close()


def test_tries_open_again_after_their_time():
    tries = Tries(most=2, seconds=60)
    for second in (0, 1): tries.note("a", second)
    assert tries.closed("a", 59) and not tries.closed("b", 59) and not tries.closed("a", 62) and not tries.wrong


def test_many_addresses_fill_no_memory_and_a_proxy_is_not_taken_for_its_visitors():
    from types import SimpleNamespace
    tries = Tries(known=100)
    for number in range(1000): tries.note(str(number), 0)
    assert len(tries.wrong) == 100
    for _ in range(1000): tries.note("999", 0)
    assert len(tries.wrong["999"]) == tries.most
    request = lambda peer, told: SimpleNamespace(remote_ip=peer, headers={"X-Forwarded-For": told} if told else {})
    assert address_of(request("127.0.0.1", "203.0.113.5, 198.51.100.7")) == "198.51.100.7"
    assert address_of(request("198.51.100.9", "203.0.113.5")) == "198.51.100.9"
    assert address_of(request("127.0.0.1", "")) == "127.0.0.1"


def test_place_that_was_connected_waits_longer_than_one_that_never_was():
    places = Places(wait=10, away=120)
    for kernel in ("never", "once"):
        places.give(kernel, "somebody")
        places.leave(kernel, 0)
    assert places.to_end({"never": 0, "once": 1}, 5) == []
    assert places.to_end({"never": 0, "once": 0}, 20) == ["never"]
    assert places.to_end({"once": 0}, 139) == [] and places.to_end({"once": 0}, 141) == ["once"]


@needs_nginx
@pytest.mark.process
@pytest.mark.browser
def test_pages_answer_behind_the_recipe_for_nginx(browser, trained, tmp_path):
    with (closing(Server(tmp_path/"outputs", pool=0, model=str(trained))) as server,
          behind_nginx("nginx-pages.conf", "127.0.0.1:8866", server.base.removeprefix("http://"), tmp_path) as address):
        page = browser.new_page()
        page.goto(f"{address}/class")
        log_in(page, TOKEN)
        page.get_by_role("button", name="Try the sample").click(timeout=1000*PATIENCE)
        expect(page.locator(".gc-list a").first).to_be_visible(timeout=1000*PATIENCE)
        page.close()
