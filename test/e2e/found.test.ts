import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { Duplex } from "node:stream";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { curl, nextChunk } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

/** A server's dialogue before TLS: what it says first, and its answer to each line. It begins TLS after the line `begin`. */
interface Script {
  readonly greeting: string | Buffer;
  readonly answers: Readonly<Record<string, string | Buffer>>;
  readonly begin: string;
  /** What it answers inside TLS; absent: the secret, and what it was told. */
  readonly inside?: string;
}

const INVENTED: Script = { greeting: "HOLA 1\r\n", answers: { "SECURE ME": "YES\r\n" }, begin: "SECURE ME" };
const SMTP = { EHLO: "250-a\r\n250 STARTTLS\r\n", STARTTLS: "220 go\r\n" };
/** Greetings that no RFC has, and that curl takes. */
const ODD_GREETINGS = [
  "220 hi\x07\r\n",
  `220 ${"x".repeat(17_000)}\r\n`,
  "\r\n220 hi\r\n",
  "wait\r\n220 hi\r\n",
  "230 hi\r\n",
];
const FORBIDDEN = `forbidden.${DOMAIN}`;
const PRIVATE = `private.${DOMAIN}`;

describe("TLS that is found, not agreed to", needs("curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let server: net.Server;
  /** The same server at a port that is not watched. */
  let unwatched: net.Server;
  let script: Script = INVENTED;
  /** What the server has read in plaintext, in all its sessions. */
  let heard = "";

  before(async () => {
    pki = await makePki();
    const { certificate, key } = pki.server.ecdsa;
    const secureContext = tls.createSecureContext({ cert: readFileSync(certificate), key: readFileSync(key) });
    server = net.createServer((socket) => serve(socket, secureContext));
    unwatched = net.createServer((socket) => serve(socket, secureContext));
    const [port, other] = await Promise.all([listen(server), listen(unwatched)]);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { odd: port, strict: port, other, otherStrict: other },
      config: {
        policy: {
          startTls: { enabled: true, ports: [port] },
          rules: [
            { name: "forbidden", match: { host: [FORBIDDEN] }, action: "drop" },
            { name: "known", match: { listener: ["otherStrict"] }, action: "decrypt", undecryptable: "drop" },
            { name: "private", match: { host: [PRIVATE] }, action: "bypass" },
            {
              name: "strict",
              match: { listener: ["strict"] },
              action: "decrypt",
              notTls: "drop",
              undecryptable: "drop",
            },
          ],
        },
      },
    });
  });
  after(async () => {
    await node?.stop();
    server?.close();
    unwatched?.close();
  });

  async function listen(one: net.Server): Promise<number> {
    one.listen(0, "127.0.0.1");
    await once(one, "listening");
    return (one.address() as net.AddressInfo).port;
  }

  function serve(socket: net.Socket, secureContext: tls.SecureContext): void {
    socket.on("error", () => {});
    if (script.greeting.length > 0) socket.write(script.greeting);
    let line = "";
    const onData = (bytes: Buffer) => {
      heard += bytes;
      line += bytes.toString("latin1");
      for (let end = line.indexOf("\n"); end >= 0; end = line.indexOf("\n")) {
        const said = line.slice(0, end).trim();
        line = line.slice(end + 1);
        // A request to a proxy ends with an empty line.
        if (script.greeting.length === 0 && (said !== "" || !heard.trim())) continue;
        const known = Object.entries(script.answers).find(([command]) => said.startsWith(command));
        socket.write(known?.[1] ?? "500 what\r\n");
        if (said === script.begin) return begin();
      }
    };
    const begin = () => {
      socket.off("data", onData);
      const stream = new tls.TLSSocket(socket, { isServer: true, secureContext });
      stream.on("error", () => {}).on("data", (bytes: Buffer) => stream.write(script.inside ?? `secret ${bytes}`));
    };
    socket.on("data", onData);
    if (script.begin === "" && script.greeting.length > 0) begin();
  }

  /** Speaks the dialogue, each line once the server has answered the one before it. */
  async function speak(lines: readonly string[], way = "odd") {
    heard = "";
    const since = Date.now();
    const socket = net.connect(node.forward(way), "127.0.0.1");
    await once(socket, "connect");
    const port = socket.localPort!;
    const session = () => node.sessionFrom(port, since);
    if (script.greeting.length > 0) await nextChunk(socket);
    for (const line of lines) {
      socket.write(`${line}\r\n`);
      await nextChunk(socket);
    }
    return { socket, session };
  }

  /** Begins TLS on the socket and answers what the server says, and whose certificate it shows. */
  async function secure(socket: Duplex, servername: string, ca: string) {
    const stream = tls.connect({ socket, servername, ca: readFileSync(ca) });
    await once(stream, "secureConnect");
    stream.write("hi");
    const [answer] = await once(stream, "data");
    stream.on("error", () => {}).end();
    return String(answer);
  }

  /** The socket, with each byte in a segment of its own. */
  function inBytes(socket: net.Socket): Duplex {
    socket.setNoDelay(true);
    const wire = new Duplex({
      read: () => void socket.resume(),
      async write(bytes: Buffer, _encoding, done) {
        for (const byte of bytes) {
          socket.write(Buffer.from([byte]));
          await new Promise(setImmediate);
        }
        done();
      },
      final: (done) => void socket.end(done),
    });
    socket.on("data", (bytes: Buffer) => wire.push(bytes)).on("end", () => wire.push(null));
    return wire;
  }

  const FOUND = { protocol: "tls after an unknown dialogue", startTls: { protocol: "unknown", outcome: "upgraded" } };

  test("TLS after an invented dialogue is decrypted, with the verdict in the certificate phase", async () => {
    script = INVENTED;
    const { socket, session } = await speak(["SECURE ME"]);
    assert.equal(await secure(socket, `www.${DOMAIN}`, node.primary), "secret hi");
    const record = await session();
    assert.partialDeepStrictEqual(record, { ...FOUND, verdict: "decrypt", phase: "certificate" });
    assert.ok(record.startTls?.at);
  });

  test("After an invented dialogue a ClientHello is found that comes byte by byte", async () => {
    script = INVENTED;
    const { socket, session } = await speak(["SECURE ME"]);
    assert.equal(await secure(inBytes(socket), `bytes.${DOMAIN}`, node.primary), "secret hi");
    assert.partialDeepStrictEqual(await session(), { ...FOUND, verdict: "decrypt", phase: "certificate" });
  });

  test("A host that policy drops is not reached after an invented dialogue", async () => {
    script = INVENTED;
    const { socket, session } = await speak(["SECURE ME"]);
    await assert.rejects(secure(socket, FORBIDDEN, node.primary), /access denied/i);
    assert.partialDeepStrictEqual(await session(), { ...FOUND, verdict: "drop", rule: "forbidden" });
  });

  test("A host that policy bypasses sees the client's own hello", async () => {
    script = INVENTED;
    const { socket, session } = await speak(["SECURE ME"]);
    assert.equal(await secure(socket, PRIVATE, pki.root.certificate), "secret hi");
    assert.partialDeepStrictEqual(await session(), {
      ...FOUND,
      verdict: "bypass",
      phase: "certificate",
      rule: "private",
    });
  });

  test("A server that initiates the switch is followed", async () => {
    for (const greeting of ["220 hi\r\n220 go ahead\r\n", "GO\r\n"]) {
      script = { greeting, answers: {}, begin: "" };
      const { socket, session } = await speak([]);
      assert.equal(await secure(socket, `www.${DOMAIN}`, node.primary), "secret hi");
      assert.partialDeepStrictEqual(await session(), { protocol: FOUND.protocol, verdict: "decrypt" });
    }
  });

  for (const greeting of ODD_GREETINGS) {
    test(`curl's mail to a server that greets with ${JSON.stringify(greeting.slice(0, 10))} is decrypted and dropped as policy says`, async () => {
      script = { greeting, answers: SMTP, begin: "STARTTLS", inside: "250 ok\r\n" };
      const mail = (host: string) =>
        curl({ port: node.forward("odd") }, node.primary, ["--ssl-reqd", `smtp://${host}/`, "-X", "NOOP"]);
      const name = `odd-${ODD_GREETINGS.indexOf(greeting)}.${DOMAIN}`;
      await mail(name);
      assert.partialDeepStrictEqual(await node.session(name), {
        verdict: "decrypt",
        clientLeg: { version: "TLSv1.3" },
      });
      const since = Date.now();
      const { code } = await mail(FORBIDDEN);
      assert.notEqual(code, 0);
      const [dropped] = await until("the dropped session", async () => {
        const found = await node.sessions({ host: FORBIDDEN });
        const closed = found.filter(({ start, end }) => start >= since && end !== null);
        return closed.length > 0 && closed;
      });
      assert.partialDeepStrictEqual(dropped, { verdict: "drop", rule: "forbidden" });
    });
  }

  test("What stays plaintext is carried, and the record says that its dialogue is not understood", async () => {
    script = INVENTED;
    const { socket, session } = await speak(["NOTHING", "TO HIDE"]);
    socket.end();
    assert.partialDeepStrictEqual(await session(), {
      ...{ protocol: "other", verdict: null, startTls: null },
      reason: "Not TLS: carried unchanged, dialogue not understood",
    });
  });

  test("Bytes that may begin TLS pass after a moment, and a message that ends with them is not held up", async () => {
    script = { ...INVENTED, answers: { "\x16": "that was no TLS\r\n" } };
    const { socket, session } = await speak(["PING"]);
    heard = "";
    socket.write("PONG\x16");
    await until("the last byte", () => heard === "PONG\x16");
    socket.end("\x16\x03");
    await until("the bytes before the end", () => heard === "PONG\x16\x16\x03");
    assert.partialDeepStrictEqual(await session(), { protocol: "other", clientLeft: "closed" });
  });

  /** Sends a hello whose first byte passes before the others come. */
  async function dribble(way: string, servername: string) {
    script = INVENTED;
    const { socket, session } = await speak(["SECURE ME"], way);
    const [near, far] = await pair();
    const client = tls.connect({ socket: near, servername, rejectUnauthorized: false });
    const outcome = new Promise<string>((resolve) => {
      client.once("secureConnect", () => resolve("secure"));
      client.on("error", () => resolve("failed")).on("close", () => resolve("failed"));
    });
    const first = await nextChunk(far);
    socket.write(first!.subarray(0, 1));
    // TLS has begun at the server already, which waits for the rest.
    await until("the first byte to pass", async () => {
      const [live] = (await node.sessions({ live: "true" })).filter(
        ({ client: { port } }) => port === socket.localPort,
      );
      return live !== undefined && live.serverLeg.sent > "SECURE ME\r\n".length;
    });
    socket.write(first!.subarray(1));
    far.pipe(socket);
    socket.pipe(far);
    socket.on("error", () => far.destroy()).on("close", () => far.destroy());
    const result = await outcome;
    client.destroy();
    socket.destroy();
    return { result, record: await session() };
  }

  async function pair(): Promise<[net.Socket, net.Socket]> {
    const meeting = net.createServer();
    meeting.listen(0, "127.0.0.1");
    await once(meeting, "listening");
    const near = net.connect((meeting.address() as net.AddressInfo).port, "127.0.0.1");
    const [far] = (await once(meeting, "connection")) as [net.Socket];
    meeting.close();
    return [near, far];
  }

  test("TLS that was seen too late is never plaintext: it has the verdict for what cannot be decrypted", async () => {
    const passed = await dribble("odd", `late.${DOMAIN}`);
    assert.equal(passed.result, "secure");
    const seen = { protocol: FOUND.protocol, rule: "undecryptable" };
    assert.partialDeepStrictEqual(passed.record, { ...seen, verdict: "bypass", sni: `late.${DOMAIN}` });
    assert.match(passed.record.reason ?? "", /seen too late/);
    const strict = await dribble("odd", FORBIDDEN);
    assert.equal(strict.result, "failed");
    assert.partialDeepStrictEqual(strict.record, { protocol: FOUND.protocol, verdict: "drop", rule: "forbidden" });
  });

  test("TLS behind plaintext at a port that is not watched is recorded as what it is", async () => {
    script = INVENTED;
    const { socket, session } = await speak(["SECURE ME"], "other");
    assert.equal(await secure(socket, `www.${DOMAIN}`, pki.root.certificate), "secret hi");
    const record = await session();
    const seen = { protocol: "tls on an unwatched port", startTls: null, sni: `www.${DOMAIN}` };
    assert.partialDeepStrictEqual(record, { ...seen, verdict: "bypass", rule: "undecryptable" });
    assert.match(record.reason ?? "", /policy\.startTls does not watch port \d+; policy\.undecryptable is bypass/);
  });

  test("At a port that is not watched, drop rules and policy.undecryptable hold for TLS behind plaintext", async () => {
    for (const [way, name, rule] of [
      ["other", FORBIDDEN, "forbidden"],
      ["otherStrict", `www.${DOMAIN}`, "known"],
    ] as const) {
      script = INVENTED;
      const { socket, session } = await speak(["SECURE ME"], way);
      await assert.rejects(secure(socket, name, pki.root.certificate), { code: "ECONNRESET" });
      assert.partialDeepStrictEqual(await session(), { protocol: "tls on an unwatched port", verdict: "drop", rule });
    }
  });

  /** A proxy on a port that is not watched, which says something behind its 200. */
  const tunnel = (behind: string | Buffer): Script => {
    const answer = Buffer.concat([Buffer.from(OK), Buffer.from(behind)]);
    return { greeting: "", answers: { "": answer }, begin: "" };
  };
  const OK = "HTTP/1.1 200 OK\r\n\r\n";
  const HEAD = "CONNECT inner.test:443 HTTP/1.1\r\n\r\n";
  for (const [what, head, behind] of [
    ["whose proxy sends a warning behind its 200", HEAD, Buffer.from("15030300020170", "hex")],
    ["whose proxy sends a byte behind its 200", HEAD, "\0"],
    ["whose proxy sends a line behind its 200", HEAD, "welcome\r\n"],
    ["that is asked for with bare LF and blanks", "connect \tinner.test:443  http/1.1\nHost : x\n\n", ""],
    ["that is asked for behind empty lines", `\r\n\r\n${HEAD}`, ""],
    ["that is asked for in another way than proxies know", "CONNECT inner.test HTTP/1.1\r\n\r\n", ""],
  ] as const) {
    test(`TLS in a tunnel ${what} is decrypted, and dropped as policy says`, async () => {
      for (const name of [`www.${DOMAIN}`, FORBIDDEN]) {
        script = tunnel(behind);
        const { socket, session } = await speak([], "other");
        socket.write(head);
        // A warning waits with the node until TLS has begun.
        const length = OK.length + (typeof behind === "string" ? behind.length : 0);
        for (let heard = 0; heard < length; ) heard += (await nextChunk(socket))!.length;
        if (name === FORBIDDEN) await assert.rejects(secure(socket, name, node.primary));
        else assert.equal(await secure(socket, name, node.primary), "secret hi");
        const { verdict, rule } = await session();
        assert.deepEqual([verdict, rule], name === FORBIDDEN ? ["drop", "forbidden"] : ["decrypt", "default"]);
      }
    });
  }

  for (const [way, protocol, verdict] of [
    ["odd", "tls after an unknown dialogue", "decrypt"],
    ["other", "tls on an unwatched port", "bypass"],
  ] as const) {
    test(`TLS behind an upgrade of HTTP is found, at a port that is ${way === "odd" ? "" : "not "}watched`, async () => {
      const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n";
      for (const name of [`www.${DOMAIN}`, FORBIDDEN]) {
        script = { greeting: "", answers: { "": switching }, begin: "" };
        const { socket, session } = await speak([], way);
        socket.write("OPTIONS * HTTP/1.1\r\nHost: a.test\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n");
        for (let heard = 0; heard < switching.length; ) heard += (await nextChunk(socket))!.length;
        const ca = way === "odd" ? node.primary : pki.root.certificate;
        if (name === FORBIDDEN) await assert.rejects(secure(socket, name, ca));
        else assert.equal(await secure(socket, name, ca), "secret hi");
        const expected = name === FORBIDDEN ? { protocol, verdict: "drop" } : { protocol, verdict };
        assert.partialDeepStrictEqual(await session(), expected);
      }
    });
  }

  test("Where policy drops what is not TLS, an unknown dialogue does not pass", async () => {
    script = INVENTED;
    const since = Date.now();
    const socket = net.connect(node.forward("strict"), "127.0.0.1");
    // It may be reset before it is connected.
    const [error] = await once(socket.resume(), "error");
    assert.equal(error.code, "ECONNRESET");
    const record = await until("the session", async () => {
      const all = await node.sessions({});
      return all.find(({ listener, start, end }) => listener === "strict" && start >= since && end !== null);
    });
    assert.partialDeepStrictEqual(record, {
      ...{ verdict: "drop", rule: "strict", reason: "Not TLS: The rule drops what is not TLS" },
      serverLeg: { received: 0 },
    });
  });

  test("Where policy drops what is not TLS, plain HTTP is answered with 403, and its server hears nothing", async () => {
    script = { greeting: "", answers: {}, begin: "never" };
    heard = "";
    const answer = await fetch(`http://127.0.0.1:${node.forward("strict")}/`);
    assert.equal(answer.status, 403);
    assert.match(await answer.text(), /The rule drops what is not TLS/);
    assert.equal(heard, "");
  });

  test("Where policy drops what is not TLS, a known dialogue passes up to TLS, and no further without it", async () => {
    script = { greeting: "220 hi\r\n", answers: SMTP, begin: "STARTTLS" };
    const good = await speak(["EHLO a", "STARTTLS"], "strict");
    assert.equal(await secure(good.socket, `www.${DOMAIN}`, node.primary), "secret hi");
    assert.partialDeepStrictEqual(await good.session(), { protocol: "tls", verdict: "decrypt" });
    const bad = await speak(["EHLO a"], "strict");
    heard = "";
    bad.socket.write("MAIL FROM:<a@b.test>\r\n");
    await assert.rejects(nextChunk(bad.socket), { code: "ECONNRESET" });
    assert.partialDeepStrictEqual(await bad.session(), { verdict: "drop", rule: "strict" });
    assert.equal(heard, "");
  });
});
