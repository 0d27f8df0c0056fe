import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { dial, nextLine, serve } from "../../lab/ends.ts";
import { missingRequirement } from "../../lab/requirements.ts";
import { needs } from "../needs.ts";
import { until } from "../processes.ts";
import {
  MAIL_DOMAIN,
  PASSWORD,
  UPGRADE_PORTS as PORTS,
  postfix,
  postgresql,
  secureProxy,
  tinyproxy,
  USER,
} from "./upgrade-servers.ts";
import { OWN_PORT, openUpgradeStage, SERVER, type UpgradeStage } from "./upgrade-stage.ts";

const SERVERS = { postfix, postgresql, tinyproxy, secureProxy };
const PROGRAMS = needs(
  "postfix",
  "swaks",
  "libnet-ssleay-perl",
  "postgresql",
  "tinyproxy-bin",
  "socat",
  "curl",
  "tshark",
);
const PRIVATE = "private.clearline.test";
const FORBIDDEN = "forbidden.clearline.test";
const GREETING = "220 mail.example ESMTP\r\n";

describe("Sessions that begin in plaintext and are not decrypted", {
  skip: missingRequirement() ?? PROGRAMS.skip,
}, () => {
  let stage: UpgradeStage<keyof typeof SERVERS>;
  before(async () => {
    stage = await openUpgradeStage(SERVERS, {
      rules: [
        { name: "private", match: { host: [PRIVATE] }, action: "bypass" },
        { name: "forbidden", match: { host: [FORBIDDEN] }, action: "drop" },
      ],
    });
  });
  after(() => stage?.[Symbol.asyncDispose]());

  const connect = (port: number) => dial(stage.network.client, { address: SERVER, port });
  /** A server for behaviour that no real server has. It answers each line as `answers` says. */
  const scripted = (answers: Readonly<Record<string, string>>) =>
    serve(stage.network.server, OWN_PORT, (client: Socket) => {
      client.write(GREETING);
      client.on("data", (bytes: Buffer) => client.write(answers[String(bytes).trim()] ?? "500 what\r\n"));
      client.on("end", () => client.end());
    });
  const ask = async (socket: Socket, line: string) => {
    socket.write(`${line}\r\n`);
    return nextLine(socket);
  };
  const opensslSmtp = (name: string, roots: string) => {
    const to = ["-connect", `${SERVER}:${PORTS.smtp}`, "-servername", name, "-verify_hostname", name];
    const args = [
      "s_client",
      ...to,
      "-starttls",
      "smtp",
      "-CAfile",
      roots,
      "-verify_return_error",
      "-ign_eof",
      "-crlf",
    ];
    return stage.network.client.run("openssl", args, { input: "EHLO inside\nQUIT\n", within: 20_000 });
  };

  test("a late bypass repeats the dialogue with Postfix, and the client sees Postfix's own certificate", async () => {
    const { code, stdout, stderr } = await opensslSmtp(PRIVATE, stage.pki.root.certificate);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^221 /m);
    const session = await stage.sessionTo(PORTS.smtp, ({ sni }) => sni === PRIVATE);
    assert.partialDeepStrictEqual(session, { verdict: "bypass", phase: "certificate", rule: "private" });
    assert.partialDeepStrictEqual(session.startTls, { protocol: "SMTP", outcome: "upgraded" });
    const said = await stage.plaintextOf(session);
    assert.match(said, /^220 .*EHLO .*STARTTLS\r\n220 [^\r]*\r\n$/s);
    const log = readFileSync(join(stage.servers.postfix.folder, "log"), "utf8");
    assert.equal(log.match(/disconnect from .*ehlo=1 starttls=(?:0\/)?1 .*commands=/g)?.length, 1, log);
    assert.match(log, /disconnect from .*ehlo=2 starttls=1 quit=1 commands=4/);
  });

  test("a drop sends the client an alert", async () => {
    const { code, stderr } = await opensslSmtp(FORBIDDEN, stage.node.authorities);
    assert.notEqual(code, 0);
    assert.match(stderr, /alert access denied/);
    const session = await stage.sessionTo(PORTS.smtp, ({ sni }) => sni === FORBIDDEN);
    assert.partialDeepStrictEqual(session, { verdict: "drop", phase: "certificate", rule: "forbidden" });
  });

  test("a late bypass reaches PostgreSQL, and a server behind a proxy", async () => {
    const where = `host=${PRIVATE} hostaddr=${SERVER} user=${USER} dbname=postgres sslmode=verify-full`;
    const query = ["-c", "select 'forty-' || 'two'"];
    const roots = stage.pki.root.certificate;
    assert.match(await stage.client("psql", [`${where} sslrootcert=${roots}`, ...query]), /forty-two/);
    const session = await stage.sessionTo(PORTS.postgresql);
    assert.partialDeepStrictEqual(session, { verdict: "bypass", phase: "certificate", rule: "private" });

    const proxy = ["-x", `http://${USER}:${PASSWORD}@${SERVER}:${PORTS.proxy}`, "--proxy-anyauth"];
    const target = ["--connect-to", `${PRIVATE}:443:${SERVER}:443`, `https://${PRIVATE}/`];
    assert.match(await stage.client("curl", ["-sS", "-f", "--cacert", roots, ...proxy, ...target]), /TLSv1\.3/);
    const tunnel = await stage.sessionTo(PORTS.proxy, ({ sni }) => sni === PRIVATE);
    assert.partialDeepStrictEqual(tunnel, { verdict: "bypass", phase: "certificate", connectHost: SERVER });
  });

  test("a tunnel inside TLS with a proxy is decrypted, bypassed late, and dropped", async () => {
    // Named, because a wildcard certificate without a name may be that of the host that is forbidden.
    const name = "proxy.clearline.test";
    const proxy = [
      ...["-x", `https://${USER}:${PASSWORD}@${name}:${PORTS.secureProxy}`],
      ...["--resolve", `${name}:${PORTS.secureProxy}:${SERVER}`],
    ];
    const roots = ["--proxy-cacert", stage.node.authorities, "--cacert"];
    const page = ["--connect-to", `inside.clearline.test:443:${SERVER}:443`, "https://inside.clearline.test/"];
    const inside = [...roots, stage.node.authorities, ...proxy, ...page];
    assert.match(await stage.client("curl", ["-sS", "-f", ...inside]), /TLSv1\.3 HTTP/);
    const said = ["CONNECT", " 200 ", "PRI * HTTP/2.0"];
    await stage.assertDecrypted(PORTS.secureProxy, "CONNECT", ...said);

    const target = ["--connect-to", `${PRIVATE}:443:${SERVER}:443`, `https://${PRIVATE}/`];
    const past = [...roots, stage.pki.root.certificate, ...proxy, ...target];
    assert.match(await stage.client("curl", ["-sS", "-f", ...past]), /TLSv1\.3 HTTP/);
    const session = await stage.sessionTo(PORTS.secureProxy, ({ sni }) => sni === PRIVATE);
    assert.partialDeepStrictEqual(session, { verdict: "bypass", phase: "certificate" });

    const refused = ["--connect-to", `${FORBIDDEN}:443:${SERVER}:443`, `https://${FORBIDDEN}/`];
    const { code } = await stage.network.client.run("curl", [
      "-sS",
      ...roots,
      stage.node.authorities,
      ...proxy,
      ...refused,
    ]);
    assert.equal(code, 35);
    const dropped = await stage.sessionTo(PORTS.secureProxy, ({ sni }) => sni === FORBIDDEN);
    assert.partialDeepStrictEqual(dropped, { verdict: "drop", phase: "certificate", rule: "forbidden" });
  });

  test("a refused CONNECT stays plaintext, and so does a tunnel without TLS", async () => {
    const refused = await connect(PORTS.proxy);
    assert.match(await ask(refused, `CONNECT ${SERVER}:443 HTTP/1.1\r\nHost: x\r\n`), / 407 /);
    refused.destroy();
    const socket = await connect(PORTS.proxy);
    const { localPort } = socket;
    const login = Buffer.from(`${USER}:${PASSWORD}`).toString("base64");
    const head = `CONNECT ${SERVER}:7 HTTP/1.0\r\nHost: x\r\nProxy-Authorization: Basic ${login}\r\n`;
    assert.match(await ask(socket, head), / 200 /);
    socket.write("not TLS at all\n");
    await until("the echo", () => nextLine(socket).then((line) => line === "not TLS at all"));
    socket.end();
    const session = await stage.sessionTo(PORTS.proxy, ({ client }) => client.port === localPort);
    assert.partialDeepStrictEqual(session, { protocol: "other", verdict: null, connectHost: SERVER });
  });

  test("the feed has the mail of a client that does not use STARTTLS", async () => {
    const to = ["--server", SERVER, "--to", `${USER}@${MAIL_DOMAIN}`, "--from", `bob@${MAIL_DOMAIN}`];
    const body = `nothing to hide\n${"a long story\n".repeat(15_000)}`;
    await stage.client("swaks", [...to, "--ehlo", "plain", "--body", "-"], { input: body });
    const session = await stage.sessionTo(PORTS.smtp, ({ protocol }) => protocol === "other");
    assert.partialDeepStrictEqual(session, { verdict: null, startTls: null });
    assert.match(await stage.plaintextOf(session), /EHLO plain.*nothing to hide.*221 /s);
  });

  test("a session goes on in plaintext after a refused upgrade; a server that withdraws its offer is logged", async () => {
    const offers = { "EHLO a": "250-mail\r\n250 STARTTLS\r\n", STARTTLS: "454 not now\r\n", NOOP: "250 ok\r\n" };
    await using stack = new AsyncDisposableStack();
    const refuses = stack.use(await scripted(offers));
    const first = await connect(OWN_PORT);
    assert.equal(`${await nextLine(first)}\n`, GREETING);
    await ask(first, "EHLO a");
    assert.match(await ask(first, "STARTTLS"), /^454/);
    assert.match(await ask(first, "NOOP"), /^250 ok/);
    first.end();
    const session = await stage.sessionTo(OWN_PORT);
    assert.partialDeepStrictEqual(session, {
      protocol: "other",
      verdict: null,
      closeReason: "The client closed the connection",
    });
    assert.partialDeepStrictEqual(session.startTls, { protocol: "SMTP", at: null });
    await refuses[Symbol.asyncDispose]();

    stack.use(await scripted({ "EHLO a": "250-mail\r\n250 8BITMIME\r\n" }));
    const second = await connect(OWN_PORT);
    const { localPort } = second;
    await nextLine(second);
    await ask(second, "EHLO a");
    second.end();
    const stripped = await stage.sessionTo(OWN_PORT, ({ client }) => client.port === localPort);
    assert.partialDeepStrictEqual(stripped.startTls, { protocol: "SMTP", outcome: "withdrawn" });
    await stage.node.process.shows(/no longer offers the TLS that it offered before/);
  });

  for (const [who, request, agreement] of [
    ["client", "STARTTLS\r\nRSET\r\n", "220 go\r\n"],
    ["server", "STARTTLS\r\n", "220 go\r\n250 injected\r\n"],
  ] as const) {
    test(`bytes that the ${who} sends right behind STARTTLS reset both sides and are not forwarded`, async () => {
      let heard = "";
      const reset = Promise.withResolvers<void>();
      await using _ = await serve(stage.network.server, OWN_PORT, (client: Socket) => {
        client.write(GREETING);
        client.on("data", (bytes: Buffer) => {
          heard += bytes;
          client.write(agreement);
        });
        client.on("close", () => reset.resolve());
      });
      const socket = await connect(OWN_PORT);
      const { localPort } = socket;
      let told = await nextLine(socket);
      socket.on("data", (bytes: Buffer) => (told += bytes));
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.write(request);
      await Promise.all([closed, reset.promise]);
      assert.doesNotMatch(heard, /RSET/);
      assert.doesNotMatch(told, /injected/);
      const session = await stage.sessionTo(OWN_PORT, ({ client }) => client.port === localPort);
      assert.partialDeepStrictEqual(session, { verdict: "drop", rule: "startTls" });
      assert.match(session.reason ?? "", new RegExp(`^The ${who} sent more after`));
    });
  }
});
