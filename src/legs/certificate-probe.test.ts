import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import { make } from "../pki/x509/test-chain.ts";
import { dial } from "../streams/dial.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { probeServer } from "./certificate-probe.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-probe-"));
after(() => rmSync(folder, { recursive: true }));
const { pem, keyPem } = await make({ subject: "CN=probe.test", names: [["dns", "probe.test"]] });
writeFileSync(join(folder, "certificate.pem"), pem);
writeFileSync(join(folder, "key.pem"), keyPem, { mode: 0o600 });

const HELLO = helloOf("curl");

function helloOf(name: string): ClientHello {
  const sighting = createClientHelloReader().push(RECORDED[name]!);
  assert.equal(sighting.kind, "hello");
  return (sighting as { hello: ClientHello }).hello;
}

/** A real s_server; resolves with its port once it listens. */
async function openssl(t: TestContext, ...more: string[]): Promise<number> {
  const files = ["-cert", join(folder, "certificate.pem"), "-key", join(folder, "key.pem")];
  const server: ChildProcess = spawn("openssl", ["s_server", "-accept", "127.0.0.1:0", ...files, ...more]);
  t.after(() => server.kill("SIGKILL"));
  let output = "";
  for await (const text of server.stdout!) {
    output += text;
    const [, port] = /^ACCEPT .*:(\d+)$/m.exec(output) ?? [];
    if (port !== undefined) {
      return Number(port);
    }
  }
  throw new Error(`s_server ended: ${output}`);
}

const probe = (port: number, hello = HELLO, timeout = 5_000) =>
  probeServer(() => dial(["127.0.0.1"], port, 5_000), hello, timeout);

test("A TLS 1.2 server that demands a client certificate is recognised", async (t) => {
  assert.equal(await probe(await openssl(t, "-tls1_2", "-Verify", "1")), true);
});

test("A TLS 1.2 server that asks and does not insist is recognised too: its first flight is the same", async (t) => {
  assert.equal(await probe(await openssl(t, "-tls1_2", "-verify", "1")), true);
});

test("A TLS 1.2 server that wants none is not taken for one that does", async (t) => {
  assert.equal(await probe(await openssl(t, "-tls1_2")), false);
});

test("A server of TLS 1.3 alone refuses a hello of TLS 1.2, and demands nothing that can be seen", async (t) => {
  assert.equal(await probe(await openssl(t, "-tls1_3", "-Verify", "1")), false);
});

test("A client that offers nothing below TLS 1.3 is not probed for", async () => {
  const never = () => Promise.reject(new Error("dialed"));
  assert.equal(await probeServer(never, { ...HELLO, versions: [0x0304] }, 1_000), false);
});

test("Nobody there, silence, garbage, an end and a reset all demand nothing", async (t) => {
  const answers: ((socket: Socket) => void)[] = [
    () => {},
    (socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
    (socket) => socket.write(Buffer.from([22, 3, 3, 255, 255, ...Buffer.alloc(64)])),
    (socket) => socket.end(),
    (socket) => socket.resetAndDestroy(),
  ];
  for (const answer of answers) {
    const server = createServer((socket) => {
      socket.on("error", () => {}).once("data", () => answer(socket));
      t.after(() => socket.destroy());
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    assert.equal(await probe(port, HELLO, 50), false);
    server.close();
  }
  assert.equal(await probeServer(() => Promise.reject(new Error("refused")), HELLO, 1_000), false);
});

test("The probe's connection is closed whatever came of it", async (t) => {
  const port = await openssl(t, "-tls1_2", "-Verify", "1");
  const sockets: Socket[] = [];
  const dialed = async () => {
    const socket = connect(port, "127.0.0.1");
    sockets.push(socket);
    await once(socket, "connect");
    return socket;
  };
  await probeServer(dialed, HELLO, 5_000);
  assert.ok(sockets.every((socket) => socket.destroyed));
});
