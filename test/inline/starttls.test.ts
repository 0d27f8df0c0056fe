import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingRequirement } from "../../lab/requirements.ts";
import { needs } from "../needs.ts";
import { scratch, until } from "../processes.ts";
import {
  ADMIN,
  dovecot,
  MAIL_DOMAIN,
  mariadb,
  PASSWORD,
  UPGRADE_PORTS as PORTS,
  postfix,
  postgresql,
  prosody,
  slapd,
  tinyproxy,
  USER,
  vsftpd,
} from "./upgrade-servers.ts";
import { openUpgradeStage, SERVER, type UpgradeStage } from "./upgrade-stage.ts";

const SERVERS = { postfix, dovecot, vsftpd, slapd, prosody, postgresql, mariadb, tinyproxy };
const PROGRAMS = needs(
  ...["postfix", "swaks", "libnet-ssleay-perl", "dovecot-imapd", "dovecot-pop3d", "dovecot-managesieved", "vsftpd"],
  ...["slapd", "ldap-utils", "prosody", "postgresql", "mariadb-server", "mariadb-client", "tinyproxy-bin", "curl"],
);

describe("Sessions that begin in plaintext and are decrypted", { skip: missingRequirement() ?? PROGRAMS.skip }, () => {
  let stage: UpgradeStage<keyof typeof SERVERS>;
  before(async () => {
    stage = await openUpgradeStage(SERVERS, { channelBinding: { action: "bypass" } });
  });
  after(() => stage?.[Symbol.asyncDispose]());

  test("a mail goes through Postfix and arrives as it was sent", async () => {
    const body = Array.from({ length: 2000 }, () => randomBytes(48).toString("base64")).join("\n");
    const file = join(scratch(), "body");
    writeFileSync(file, body);
    const to = ["--server", SERVER, "--to", `${USER}@${MAIL_DOMAIN}`, "--from", `bob@${MAIL_DOMAIN}`, "--ehlo", "lab"];
    await stage.client("swaks", [
      ...to,
      "-tls",
      "--tls-verify",
      "--tls-ca-path",
      stage.node.authorities,
      "--body",
      `@${file}`,
    ]);
    const folder = join(stage.servers.postfix.folder, "box/new");
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
    await stage.assertDecrypted(
      PORTS.smtp,
      "SMTP",
      "220 ",
      "EHLO lab",
      "STARTTLS\r\n",
      "220 ",
      "EHLO lab",
      "MAIL FROM:",
    );
  });

  test("curl reads IMAP and POP3 of Dovecot", async () => {
    for (const [protocol, name, ...said] of [
      ["imap", "IMAP", "STARTTLS", " OK Begin TLS", "AUTHENTICATE"],
      ["pop3", "POP3", "STLS", "+OK Begin TLS", "LIST"],
    ] as const) {
      const login = ["-u", `${USER}:${PASSWORD}`];
      await stage.client("curl", [
        "-sS",
        "--ssl-reqd",
        "--cacert",
        stage.node.authorities,
        ...login,
        `${protocol}://${SERVER}/`,
      ]);
      await stage.assertDecrypted(PORTS[protocol], name, ...said);
    }
    assert.match(
      readFileSync(join(stage.servers.dovecot.folder, "log"), "utf8"),
      /imap-login: Info: Login: user=<alice>.* TLS/,
    );
  });

  test("openssl speaks ManageSieve with Dovecot and XMPP with Prosody", async () => {
    const verify = ["-CAfile", stage.node.authorities, "-verify_return_error"];
    const speak = (port: number, ...more: string[]) =>
      stage.client("openssl", ["s_client", "-connect", `${SERVER}:${port}`, ...verify, "-starttls", ...more], {
        input: "LOGOUT\n",
      });
    await speak(PORTS.sieve, "sieve", "-ign_eof", "-crlf");
    await stage.assertDecrypted(
      PORTS.sieve,
      "ManageSieve",
      '"IMPLEMENTATION"',
      "STARTTLS\r\n",
      "OK",
      "TLS negotiation successful",
    );
    await speak(PORTS.xmpp, "xmpp", "-xmpphost", MAIL_DOMAIN);
    await stage.assertDecrypted(PORTS.xmpp, "XMPP", "<stream:stream", "<starttls", "<proceed");
  });

  for (const [version, whenClientResumes] of [
    ["1.2", true],
    // Tickets are off, and TLS 1.3 knows nothing else.
    ["1.3", false],
  ] as const) {
    test(`curl reads files from vsftpd, whose data connections have to resume the control connection's session, TLS ${version}`, async () => {
      const text = randomBytes(100_000).toString("base64");
      writeFileSync(join(stage.servers.vsftpd.folder, "files/text"), text, { mode: 0o644 });
      const files = Array.from({ length: 6 }, () => `ftp://${SERVER}/text`);
      // Each worker meets other clients, in another order.
      const met = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"];
      for (const ciphers of met)
        await stage.client("curl", [
          ...["-sS", "--ssl-reqd", "--tls-max", "1.2", "--ciphers", ciphers, "--cacert", stage.node.authorities],
          ...["--output", "/dev/null", `ftp://${SERVER}/text`],
        ]);
      const since = Date.now();
      const read = await stage.client("curl", [
        ...["-sS", "--fail-early", "--ssl-reqd", "--tls-max", version, "--cacert", stage.node.authorities],
        ...files,
      ]);
      assert.equal(read, text.repeat(6));
      await stage.assertDecrypted(PORTS.ftp, "FTP", "AUTH SSL", "234 ", "PBSZ 0", "PROT P", "RETR text");
      const data = await until("the data connections' sessions", async () => {
        const found = (await stage.node.sessions()).filter(
          ({ server, clientLeg, start }) => server!.port > 1024 && start >= since && clientLeg.sent === text.length,
        );
        return found.length === 6 && found;
      });
      for (const one of data) {
        assert.partialDeepStrictEqual(one, { protocol: "tls", startTls: null, verdict: "decrypt" });
        assert.deepEqual([one.serverLeg?.resumed, one.clientLeg.resumed], [true, whenClientResumes]);
      }
    });
  }

  test("ldapsearch reads from slapd", async () => {
    const who = ["-x", "-D", ADMIN, "-w", PASSWORD, "-ZZ", "-H", `ldap://${SERVER}`];
    const out = await stage.client("ldapsearch", [...who, "-b", "dc=clearline,dc=test"], {
      env: { LDAPTLS_CACERT: stage.node.authorities },
    });
    assert.match(out, /The secret organization/);
    await stage.assertDecrypted(
      PORTS.ldap,
      "LDAP",
      "1.3.6.1.4.1.1466.20037",
      ADMIN,
      PASSWORD,
      "The secret organization",
    );
  });

  test("psql queries PostgreSQL", async () => {
    const where = `host=${SERVER} user=${USER} dbname=postgres sslmode=verify-full sslrootcert=${stage.node.authorities}`;
    assert.match(await stage.client("psql", [where, "-c", "select 'forty-' || 'two'"]), /forty-two/);
    await stage.assertDecrypted(PORTS.postgresql, "PostgreSQL", USER, "select 'forty-' || 'two'", "forty-two");
  });

  test("psql that binds its log-in to the channel is noticed, and its server bypassed from the next try on, where policy says so", async () => {
    const roots = join(scratch(), "roots.pem");
    const own = readFileSync(stage.pki.root.certificate, "utf8");
    writeFileSync(roots, readFileSync(stage.node.authorities, "utf8") + own);
    const host = `host=bound.clearline.test hostaddr=${SERVER} user=${USER} password=${PASSWORD} dbname=template1`;
    const where = `${host} sslmode=verify-full sslrootcert=${roots} channel_binding=require`;
    const query = [where, "-c", "select 'forty-' || 'two'"];
    await assert.rejects(stage.client("psql", query), /channel binding/);
    const first = await stage.sessionTo(PORTS.postgresql, ({ sni }) => sni === "bound.clearline.test");
    assert.equal(first.verdict, "decrypt");
    assert.match(
      first.closeReason ?? "",
      /bound its log-in to the TLS channel \(SCRAM-SHA-256-PLUS\), .*policy\.channelB/,
    );

    assert.match(await stage.client("psql", query), /forty-two/);
    const then = await stage.sessionTo(PORTS.postgresql, ({ verdict }) => verdict === "bypass");
    assert.partialDeepStrictEqual(then, { sni: "bound.clearline.test", rule: "channel binding", outcome: "bypassed" });
  });

  test("mariadb queries MariaDB", async () => {
    const tls = [`--ssl-ca=${stage.node.authorities}`, "--ssl-verify-server-cert"];
    const query = "select concat('forty-', 'two')";
    assert.match(
      await stage.client("mariadb", ["-h", SERVER, "-u", USER, `-p${PASSWORD}`, ...tls, "-e", query]),
      /forty-two/,
    );
    await stage.assertDecrypted(PORTS.mysql, "MySQL", "MariaDB", USER, query, "forty-two");
  });

  test("curl opens a tunnel through tinyproxy, which first asks for a password", async () => {
    const proxy = `http://${USER}:${PASSWORD}@${SERVER}:${PORTS.proxy}`;
    const target = ["--cacert", stage.node.authorities, "--proxy-anyauth", "-x", proxy, `https://${SERVER}/`];
    assert.match(await stage.client("curl", ["-sS", "-f", ...target]), /TLSv1\.3 HTTP/);
    const session = await stage.sessionTo(PORTS.proxy, ({ protocol }) => protocol === "tls");
    assert.partialDeepStrictEqual(session, { connectHost: SERVER, server: { address: SERVER, port: PORTS.proxy } });
    await stage.assertDecrypted(PORTS.proxy, "CONNECT", `CONNECT ${SERVER}:443`, " 200 ");
  });
});
