import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { BLOCKS } from "../odd-hellos/blocks.ts";
import { HEADS } from "../odd-hellos/heads.ts";
import { MODERN } from "../odd-hellos/modern.ts";
import { NAMES } from "../odd-hellos/names.ts";
import { OLDER_EXTENSIONS } from "../odd-hellos/older-extensions.ts";
import { RECORDS } from "../odd-hellos/records.ts";
import { makePki } from "../pki.ts";
import { RETRY } from "../recorded/client-hello/build.ts";

const ODD_HELLOS = [...OLDER_EXTENSIONS, ...NAMES, ...HEADS, ...BLOCKS, ...MODERN, ...RECORDS];

/** Where the node answers otherwise than a bare OpenSSL on purpose, and why. */
const ON_PURPOSE: Readonly<Record<string, readonly [answer: string, why: string]>> = {
  "TLS 1.2, signature_algorithms: only SHA-1": [
    "alert 40",
    "so does OpenSSL at its default security level; the bare one here is at level 0, for clients without signature_algorithms",
  ],
  "TLS 1.2, signature_algorithms: SHA-224 and SHA-1": [
    "alert 71",
    "in TLS 1.2 nothing weaker than SHA-256 is agreed on with a client that lists what it takes",
  ],
  "TLS 1.2, two names in the SNI": [
    "alert 47",
    "RFC 8446, section 6.2, has illegal_parameter for a field with a wrong value",
  ],
  "TLS 1.2, an SNI with a NUL": ["alert 47", "the same"],
  "TLS 1.2, an SNI with UTF-8": ["alert 47", "another parser may read another name, so a rule could be passed by"],
  "TLS 1.2, an SNI with a blank": ["alert 47", "another parser may read another name, so a rule could be passed by"],
  "TLS 1.3, signature_algorithms_cert of RSA only": [
    "TLS 1.3",
    "the node has a certificate that its RSA CA has signed, and the bare server none",
  ],
  "TLS 1.2 and 1.3, every group, signature scheme and suite that the node knows, twice": [
    "TLS 1.3",
    "the node takes a group that the client has sent a share for, which saves a round trip",
  ],
  "TLS 1.3, an empty list of versions": [
    "alert 50",
    "RFC 8446, section 6.2, has decode_error for a length out of range",
  ],
  "TLS 1.3, versions of an odd length": ["alert 50", "the same"],
};

/** "TLS 1.3", "TLS 1.2", "HelloRetryRequest", "alert 40", "end", "ECONNRESET": what comes first in answer to these bytes. */
function firstAnswer(port: number, hello: Buffer): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = net.connect(port, "127.0.0.1", () => socket.write(hello));
  let received = Buffer.alloc(0);
  socket.on("data", (piece: Buffer) => {
    received = Buffer.concat([received, piece]);
    const answer = nameAnswer(received);
    if (answer) resolve(answer);
  });
  socket.on("end", () => resolve("end"));
  socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? "error"));
  return promise.finally(() => socket.destroy());
}

const TLS13 = Buffer.from([0, 43, 0, 2, 3, 4]);

function nameAnswer(bytes: Buffer): string | undefined {
  const ALERT = 21;
  if (bytes[0] === ALERT) return bytes.length < 7 ? undefined : `alert ${bytes[6]}`;
  if (bytes.length < 9) return undefined;
  const length = bytes.readUIntBE(6, 3);
  const body = bytes.subarray(9, 9 + length);
  if (body.length < length) return undefined;
  if (body.subarray(2, 34).equals(RETRY)) return "HelloRetryRequest";
  return body.includes(TLS13) ? "TLS 1.3" : `TLS 1.${body[1]! - 1}`;
}

describe("An odd ClientHello", needs("openssl"), () => {
  let node: TestNode;
  let bare: tls.Server;
  const port = () => (bare.address() as net.AddressInfo).port;

  before(async () => {
    const pki = await makePki();
    const { ecdsa, rsa } = pki.server;
    bare = tls.createServer(
      {
        cert: [ecdsa, rsa].map(({ certificate }) => readFileSync(certificate)),
        key: [ecdsa, rsa].map(({ key }) => readFileSync(key)),
        ...{ ciphers: "ALL:!aNULL:!eNULL:@SECLEVEL=0", dhparam: "auto", ecdhCurve: "auto", minVersion: "TLSv1.2" },
        ALPNProtocols: ["http/1.1"],
      },
      (socket) => socket.on("error", () => {}).end(),
    );
    bare.on("tlsClientError", () => {});
    bare.listen(0, "127.0.0.1");
    await once(bare, "listening");
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: port() },
      // A bypass would show the server's own answer.
      config: { policy: { versions: { belowMin: "drop", aboveMax: "drop" } }, timeouts: { drain: "1s" } },
    });
  });
  after(async () => {
    await node?.stop();
    bare?.close();
  });

  for (const { title, bytes } of ODD_HELLOS) {
    test(`${title}, is answered as OpenSSL answers`, async () => {
      const expected = await firstAnswer(port(), bytes);
      const answer = await firstAnswer(node.forward("web"), bytes);
      assert.equal(answer, ON_PURPOSE[title]?.[0] ?? expected);
    });
  }

  test("Every difference on purpose is still one", async () => {
    for (const [title, [answer]] of Object.entries(ON_PURPOSE)) {
      const { bytes } = ODD_HELLOS.find((one) => one.title === title)!;
      assert.notEqual(await firstAnswer(port(), bytes), answer, title);
    }
  });
});
