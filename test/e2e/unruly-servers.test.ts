import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { ALERTS } from "../../src/wire/alert.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { until } from "../processes.ts";
import { MODERN } from "../unruly-servers/modern.ts";
import { OLDER } from "../unruly-servers/older.ts";
import {
  alertIn,
  type Breach,
  inRecord,
  NONE,
  REPLIED,
  ScriptedServer,
  serverHello,
  UNKNOWN,
} from "../unruly-servers/scripted-server.ts";

/** What a server may not do in a handshake: the node ends it with the alert that the RFCs name, tells the client, and blames the server. */

const ROWS: readonly { readonly version: "TLSv1.2" | "TLSv1.3"; readonly breach: Breach }[] = [
  ...OLDER.map((breach) => ({ version: "TLSv1.2", breach }) as const),
  ...MODERN.map((breach) => ({ version: "TLSv1.3", breach }) as const),
];

describe("A server that breaks the rules", needs("openssl"), () => {
  const server = new ScriptedServer();
  let node: TestNode;

  before(async () => {
    const pki = await makePki();
    const port = await server.listen();
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: port },
      config: { workers: 1 },
    });
  });
  after(async () => {
    await node?.stop();
    server.close();
  });

  for (const [at, { version, breach }] of ROWS.entries()) {
    const [what, script, alert, told = alert] = breach;
    test(`A server that sends a client of ${version} ${what} gets ${alert}`, async () => {
      server.script = script;
      const code = await failureOf({ port: node.forward("web"), servername: nameOf(at), maxVersion: version });
      assert.equal(alertIn(await server.heard), ALERTS[alert]);
      assert.match(code, new RegExp(`${told}$`, "i"));
    });
  }

  test("A server that sends its ServerHello before it has heard one gets no more by it", async () => {
    server.greeting = inRecord(serverHello({ extensions: [REPLIED, UNKNOWN] }));
    server.script = [() => NONE];
    const code = await failureOf({ port: node.forward("web"), servername: EARLY, maxVersion: "TLSv1.2" });
    assert.equal(alertIn(await server.heard), ALERTS.unsupported_extension);
    assert.match(code, /unsupported_extension$/i);
  });

  test("The records name the alert, and blame the server", async () => {
    const sessions = await until("the end of all sessions", async () => {
      const found = await node.sessions({});
      return found.length >= ROWS.length && found.every(({ end }) => end !== null) && found;
    });
    for (const [at, { breach }] of ROWS.entries()) {
      const [what, , alert, told = alert] = breach;
      const { outcome, blame, cause, serverLeg } = sessions.find(({ sni }) => sni === nameOf(at))!;
      const expected = { outcome: "serverFailed", blame: "server", cause: told, sent: alert };
      assert.deepEqual({ outcome, blame, cause, sent: serverLeg?.alertSent }, expected, what);
    }
    const { closeReason } = sessions.find(({ sni }) => sni === nameOf(0))!;
    assert.equal(closeReason, "The handshake with the server failed: it sent extension 15, which was not offered");
  });
});

const EARLY = `unruly-early.${DOMAIN}`;
const nameOf = (row: number) => `unruly-${row}.${DOMAIN}`;

/** OpenSSL's code for how a client's handshake fails. */
function failureOf(options: tls.ConnectionOptions): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const own = { host: "127.0.0.1", ALPNProtocols: ["h2", "http/1.1"], ecdhCurve: "X25519:P-256" };
  const socket = tls.connect({ ...options, ...own, rejectUnauthorized: false });
  socket.on("secureConnect", () => reject(new Error("The handshake succeeded")));
  socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? ""));
  return promise.finally(() => socket.destroy());
}
