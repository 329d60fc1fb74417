"""Two commands at once refresh once: the issuer revokes the whole sign-in when a refresh token is used twice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from client.sdk.credentials import Context, Credentials

REFRESH = """\
import sys
from pathlib import Path
from client.sdk import Api
from client.sdk.credentials import Credentials
print(Api(Credentials.load(Path(sys.argv[1])))._headers()["authorization"])
"""


def test_processes_that_find_the_token_expired_together_refresh_it_once(tmp_path):
    used = []

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self):
            known = {"name": "x", "issuer": url, "client_id": "probegate-cli", "scopes": [], "resource": ""}
            found = {"issuer": url, "authorization_endpoint": url, "token_endpoint": f"{url}/token"}
            self.answer({"items": [known]} if self.path == "/v1/sign-in" else found)

        def do_POST(self):
            used.append(self.rfile.read(int(self.headers["content-length"])).decode())
            time.sleep(0.3)  # long enough for the others to come
            self.answer({"access_token": f"fresh-{len(used)}", "refresh_token": "next", "expires_in": 600})

        def answer(self, document):
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    path = tmp_path / "credentials.json"
    Credentials(path).put(Context("c", url, "acme", url, "probegate-cli", "old", "once", 0.0))
    try:
        commands = [[sys.executable, "-c", REFRESH, str(path)] for _ in range(3)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        said = {process.communicate(timeout=60)[0].strip() for process in running}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert said == {"Bearer fresh-1"}
    assert len(used) == 1
