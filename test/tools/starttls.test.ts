import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { dovecot, PASSWORD, type UpgradeServer, USER } from "../inline/upgrade-servers.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { freePort, must, type Program, run, start, until } from "../processes.ts";
import { haproxy } from "./proxies.ts";

const PRIVATE = `private.${DOMAIN}`;
const ROOT = process.getuid?.() === 0 ? false : "needs root";

/** A forwarding listener and an explicit proxy in front of Dovecot, with HAProxy as a tool for all flows. */
describe("STARTTLS through a tool", { skip: ROOT || needs("dovecot-imapd", "haproxy", "curl").skip }, () => {
  let pki: Pki;
  let server: UpgradeServer;
  let tool: Program;
  let node: TestNode;
  let port: number;

  before(async () => {
    pki = await makePki();
    port = await freePort();
    server = await dovecot({ start, must }, pki.server.ecdsa, { imap: port, pop3: 0, sieve: 0 });
    const ports = { port: await freePort(), back: await freePort() };
    tool = await haproxy(ports);
    const address = `127.0.0.1:${ports.port}`;
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { imap: port },
      config: {
        policy: {
          startTls: { enabled: true, ports: [port] },
          rules: [{ name: "private", match: { host: [PRIVATE] }, action: "bypass" }],
        },
        tools: [{ name: "tool", kind: "proxy", address, returnAddress: `127.0.0.1:${ports.back}` }],
        feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await tool?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  for (const way of ["forward", "explicit"] as const) {
    test(`the dialogue and the decrypted rest pass the tool as one conversation, ${way}`, async () => {
      const name = `${way}.${DOMAIN}`;
      const to =
        way === "forward"
          ? ["--connect-to", `::127.0.0.1:${node.forward("imap")}`]
          : ["--proxytunnel", "-x", `http://127.0.0.1:${node.proxy}`, "--connect-to", `::127.0.0.1:${port}`];
      const login = ["--ssl-reqd", "--cacert", node.primary, "-u", `${USER}:${PASSWORD}`];
      assert.match(await must(program("curl"), ["-q", "-sS", ...login, ...to, `imap://${name}/`]), /INBOX/);
      const session = await node.session(name);
      assert.partialDeepStrictEqual(session, { verdict: "decrypt", phase: "certificate", state: "EST:EST:EST:EST" });
      assert.partialDeepStrictEqual(session.startTls, { protocol: "IMAP", outcome: "upgraded" });
      assert.deepEqual(session.tools, [{ name: "tool", state: "connected" }]);
      // The session's last packets may be written a moment after its end is known.
      const conversation = /\* OK \[CAPABILITY .* STARTTLS\r\n.*AUTHENTICATE PLAIN/s;
      const capture = session.feeds["archive"]!;
      await until(
        "the conversation in the capture",
        () => existsSync(capture) && conversation.test(readFileSync(capture, "latin1")),
      );
    });
  }

  test("after a late bypass the TLS bytes pass the tool in a second conversation", async () => {
    const to = ["-connect", `127.0.0.1:${node.forward("imap")}`, "-servername", PRIVATE, "-starttls", "imap"];
    const trust = ["-CAfile", pki.root.certificate, "-verify_return_error", "-ign_eof", "-crlf"];
    const { code, stdout } = await run(program("openssl"), ["s_client", ...to, ...trust], { input: "a LOGOUT\n" });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /a OK Logout/);
    const session = await node.session(PRIVATE);
    assert.partialDeepStrictEqual(session, { verdict: "bypass", phase: "certificate", state: "EST:EST:EST:EST" });
    assert.partialDeepStrictEqual(session.startTls, { protocol: "IMAP", outcome: "upgraded" });
  });
});
