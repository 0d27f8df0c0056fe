import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { buildNetwork, type Network } from "../../lab/network.ts";
import { type LabNode, startNode } from "../../lab/node.ts";
import { hindrance } from "../../lab/requirements.ts";
import { startServers } from "../../lab/servers.ts";
import type { Session } from "../../src/control/api.ts";
import { needs } from "../needs.ts";
import { makeLeaf, makePki } from "../pki.ts";
import { scratch, until } from "../processes.ts";
import * as servers from "./upgrade-servers.ts";
import { ADMIN, MAIL_DOMAIN, PASSWORD, UPGRADE_PORTS as PORTS, type Served, USER } from "./upgrade-servers.ts";

const SERVER = "10.2.0.2";
const PROGRAMS = needs(
  ...["postfix", "swaks", "libnet-ssleay-perl", "dovecot-imapd", "dovecot-pop3d", "dovecot-managesieved", "vsftpd"],
  ...["slapd", "ldap-utils", "prosody", "postgresql", "mariadb-server", "mariadb-client", "tinyproxy-bin", "curl"],
);

describe("Sessions that begin in plaintext", { skip: hindrance() ?? PROGRAMS.skip }, () => {
  const stack = new AsyncDisposableStack();
  let network: Network;
  let node: LabNode;
  let mail: Served;
  let box: Served;
  let files: Served;

  before(async () => {
    const pki = await makePki();
    const identity = await makeLeaf(pki, "lab", `DNS:*.clearline.test,IP:${SERVER}`);
    network = stack.use(await buildNetwork("routed"));
    const on = network.server;
    stack.use(await startServers(on, identity));
    const { postfix, dovecot, vsftpd, slapd, prosody, postgresql, mariadb, tinyproxy } = servers;
    const start = [postfix, dovecot, vsftpd, slapd, prosody, postgresql, mariadb, tinyproxy];
    const all = await Promise.all(start.map((one) => one(on, identity)));
    for (const one of all) stack.use(one);
    [mail, box, files] = all as [Served, Served, Served];
    const { proxy: _, ...watched } = PORTS;
    const config = { policy: { startTls: { enabled: true, ports: Object.values(watched) } } };
    node = stack.use(await startNode({ network, trust: [pki.root.certificate], config }));
  });
  after(() => stack.disposeAsync());

  /** Runs a client, which must end well; answers what it wrote. */
  const client = (program: string, args: readonly string[], env = {}, input = "") =>
    network.client.must(program, args, { input, within: 30_000, env: { ...process.env, ...env } });

  /** The session with the server's port, once it is over, the newest first. */
  const sessionTo = (port: number, is: (session: Session) => boolean = () => true) =>
    until(`a session with port ${port}`, async () =>
      (await node.sessions()).find((session) => session.server?.port === port && session.end !== null && is(session)),
    );

  /** The session was decrypted, and its feed has all of these, in one conversation. */
  async function assertDecrypted(port: number, protocol: string, ...said: readonly string[]): Promise<void> {
    const session = await sessionTo(port);
    assert.partialDeepStrictEqual(session, { protocol: "tls", verdict: "decrypt", phase: "certificate" });
    assert.partialDeepStrictEqual(session.startTls, { protocol, outcome: "upgraded" });
    assert.ok((session.startTls?.at ?? 0) >= session.start);
    const conversation = await plaintextOf(session);
    let at = 0;
    for (const text of said) {
      const found = conversation.indexOf(text, at);
      assert.ok(found >= 0, `${JSON.stringify(text)} is not in the feed behind ${at}:\n${conversation}`);
      at = found + text.length;
    }
  }

  /** Everything that both sides said, in order, as tshark follows it. */
  async function plaintextOf({ feeds, client: { port } }: Session): Promise<string> {
    const file = feeds["plaintext"] ?? "";
    const fields = ["-T", "fields", "-e", "tcp.payload"];
    const out = await network.node.must("tshark", ["-r", file, "-Y", `tcp.port==${port} && tcp.len>0`, ...fields]);
    return out
      .trim()
      .split("\n")
      .map((hex) => Buffer.from(hex, "hex").toString("latin1"))
      .join("");
  }

  test("a mail goes through Postfix and arrives as it was sent", async () => {
    const body = Array.from({ length: 2000 }, () => randomBytes(48).toString("base64")).join("\n");
    const file = join(scratch(), "body");
    writeFileSync(file, body);
    const to = ["--server", SERVER, "--to", `${USER}@${MAIL_DOMAIN}`, "--from", `bob@${MAIL_DOMAIN}`, "--ehlo", "lab"];
    await client("swaks", [...to, "-tls", "--tls-verify", "--tls-ca-path", node.authorities, "--body", `@${file}`]);
    const folder = join(mail.folder, "box/new");
    const [name = ""] = await until("the mail", () => {
      try {
        const names = readdirSync(folder);
        return names.length > 0 && names;
      } catch {
        return false;
      }
    });
    const arrived = readFileSync(join(folder, name), "utf8");
    const hash = (text: string) => createHash("sha256").update(text.trim()).digest("hex");
    assert.equal(hash(arrived.slice(arrived.indexOf("\n\n"))), hash(body));
    await assertDecrypted(PORTS.smtp, "SMTP", "220 ", "EHLO lab", "STARTTLS\r\n", "220 ", "EHLO lab", "MAIL FROM:");
  });

  test("curl reads IMAP and POP3 of Dovecot", async () => {
    for (const [protocol, name, ...said] of [
      ["imap", "IMAP", "STARTTLS", " OK Begin TLS", "AUTHENTICATE"],
      ["pop3", "POP3", "STLS", "+OK Begin TLS", "LIST"],
    ] as const) {
      const login = ["-u", `${USER}:${PASSWORD}`];
      await client("curl", ["-sS", "--ssl-reqd", "--cacert", node.authorities, ...login, `${protocol}://${SERVER}/`]);
      await assertDecrypted(PORTS[protocol], name, ...said);
    }
    assert.match(readFileSync(join(box.folder, "log"), "utf8"), /imap-login: Info: Login: user=<alice>.* TLS/);
  });

  test("openssl speaks ManageSieve with Dovecot and XMPP with Prosody", async () => {
    const verify = ["-CAfile", node.authorities, "-verify_return_error"];
    const speak = (port: number, ...more: string[]) =>
      client("openssl", ["s_client", "-connect", `${SERVER}:${port}`, ...verify, "-starttls", ...more], {}, "LOGOUT\n");
    await speak(PORTS.sieve, "sieve", "-ign_eof", "-crlf");
    await assertDecrypted(
      PORTS.sieve,
      "ManageSieve",
      '"IMPLEMENTATION"',
      "STARTTLS\r\n",
      "OK",
      "TLS negotiation successful",
    );
    await speak(PORTS.xmpp, "xmpp", "-xmpphost", MAIL_DOMAIN);
    await assertDecrypted(PORTS.xmpp, "XMPP", "<stream:stream", "<starttls", "<proceed");
  });

  test("curl reads a file from vsftpd, over a protected data connection too", async () => {
    const text = randomBytes(100_000).toString("base64");
    writeFileSync(join(files.folder, "files/text"), text, { mode: 0o644 });
    const read = await client("curl", ["-sS", "--ssl-reqd", "--cacert", node.authorities, `ftp://${SERVER}/text`]);
    assert.equal(read, text);
    await assertDecrypted(PORTS.ftp, "FTP", "AUTH SSL", "234 ", "PBSZ 0", "PROT P", "RETR text");
    const data = await until("the data connection's session", async () =>
      (await node.sessions()).find(({ server, clientLeg }) => server!.port > 1024 && clientLeg.sent === text.length),
    );
    assert.partialDeepStrictEqual(data, { protocol: "tls", startTls: null, verdict: "decrypt" });
  });

  test("ldapsearch reads from slapd", async () => {
    const who = ["-x", "-D", ADMIN, "-w", PASSWORD, "-ZZ", "-H", `ldap://${SERVER}`];
    const out = await client("ldapsearch", [...who, "-b", "dc=clearline,dc=test"], {
      LDAPTLS_CACERT: node.authorities,
    });
    assert.match(out, /The secret organization/);
    await assertDecrypted(PORTS.ldap, "LDAP", "1.3.6.1.4.1.1466.20037", ADMIN, PASSWORD, "The secret organization");
  });

  test("psql asks PostgreSQL", async () => {
    const where = `host=${SERVER} user=${USER} dbname=postgres sslmode=verify-full sslrootcert=${node.authorities}`;
    assert.match(await client("psql", [where, "-c", "select 'forty-' || 'two'"]), /forty-two/);
    await assertDecrypted(PORTS.postgresql, "PostgreSQL", USER, "select 'forty-' || 'two'", "forty-two");
  });

  test("mariadb asks MariaDB", async () => {
    const tls = [`--ssl-ca=${node.authorities}`, "--ssl-verify-server-cert"];
    const query = "select concat('forty-', 'two')";
    assert.match(
      await client("mariadb", ["-h", SERVER, "-u", USER, `-p${PASSWORD}`, ...tls, "-e", query]),
      /forty-two/,
    );
    await assertDecrypted(PORTS.mysql, "MySQL", "MariaDB", USER, query, "forty-two");
  });

  test("curl asks tinyproxy for a tunnel, and is asked for a password first", async () => {
    const proxy = `http://${USER}:${PASSWORD}@${SERVER}:${PORTS.proxy}`;
    const target = ["--cacert", node.authorities, "--proxy-anyauth", "-x", proxy, `https://${SERVER}/`];
    assert.match(await client("curl", ["-sS", "-f", ...target]), /TLSv1\.3 HTTP/);
    const session = await sessionTo(PORTS.proxy, ({ protocol }) => protocol === "tls");
    assert.partialDeepStrictEqual(session, { connectHost: SERVER, server: { address: SERVER, port: PORTS.proxy } });
    await assertDecrypted(PORTS.proxy, "CONNECT", `CONNECT ${SERVER}:443`, " 200 ");
  });
});
