"""A TLS server and client over Python's ssl, for the interop tests.

serve PORT CERTIFICATE KEY
get HOST:PORT NAME ROOTS VERSION [PROXY_HOST:PORT]    prints one line of JSON
"""

import http.client
import http.server
import json
import ssl
import sys
import warnings

# The tests need the old versions.
warnings.simplefilter("ignore", DeprecationWarning)

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        version, suite = self.connection.version(), self.connection.cipher()[0]
        body = json.dumps({"version": version, "suite": suite, "name": self.connection.shown_name}).encode()
        self.answer(body)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def finish_request(self, request, client_address):
        request.settimeout(20)
        secure = self.context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(secure, client_address)
        finally:
            secure.close()

    def handle_error(self, request, client_address):
        print("failed:", sys.exc_info()[1], flush=True)


def keep_name(connection, name, _context):
    connection.shown_name = name


def serve(port, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    context.sni_callback = keep_name
    server = Server(("127.0.0.1", int(port)), Handler)
    server.context = context
    print("READY", flush=True)
    server.serve_forever()


def get(target, name, roots, version, proxy=None):
    host, port = target.split(":")
    context = ssl.create_default_context(cafile=roots)
    if version in ("TLSv1", "TLSv1.1"):
        context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = VERSIONS[version]
    plain = http.client.HTTPConnection(*(proxy or target).split(":"), timeout=20)
    if proxy:
        plain.set_tunnel(host, int(port))
    plain.connect()
    plain.sock = secure = context.wrap_socket(plain.sock, server_hostname=name)
    plain.request("GET", "/", headers={"Host": name})
    server = plain.getresponse().read().decode()
    payload = bytes(range(256)) * 4096
    plain.request("POST", "/", payload, headers={"Host": name})
    echoed = plain.getresponse().read() == payload
    issuer = dict(pair for rdn in secure.getpeercert()["issuer"] for pair in rdn)["commonName"]
    seen = {"version": secure.version(), "suite": secure.cipher()[0], "issuer": issuer, "echoed": echoed}
    print(json.dumps({"client": seen, "server": server}))


{"serve": serve, "get": get}[sys.argv[1]](*sys.argv[2:])
