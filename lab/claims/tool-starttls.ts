import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Session } from "../../src/control/api.ts";
import {
  UPGRADE_PORTS as MAIL,
  MAIL_DOMAIN,
  PASSWORD,
  postfix,
  tinyproxy,
  USER,
} from "../../test/inline/upgrade-servers.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { PORTS } from "../servers.ts";
import { hostOf } from "../tool-sessions.ts";
import { type Wire, watch } from "../wire.ts";

/** How records begin: RFC 8446, section 5.1. */
const HANDSHAKE = "\x16\x03";
const APPLICATION_DATA = "\x17\x03\x03";

/** Sessions that begin in plaintext, through a tool. `bypassed`: the first label of the host that the policy bypasses. */
export function seesUpgrades(bypassed: string): Claim {
  return {
    says: "STARTTLS and CONNECT: the tool sees the dialogue and the decrypted rest as one conversation; after a late bypass it sees the dialogue alone, then TLS bytes in another conversation",
    only: "bridge",
    async check(stage) {
      const { server } = stage.network;
      const tool = stage.tools[0]!;
      await using mail = await postfix(server, stage.pki.server.ecdsa);
      await using _proxy = await tinyproxy(server);
      await using wire = await watch(tool, tool.inA, `tcp port ${MAIL.smtp} or tcp port ${MAIL.proxy}`);

      await sendMail(stage, "upgraded", stage.node.authorities);
      const [read] = await conversations(wire, MAIL.smtp, "221 2");
      assert.match(
        read!,
        /^220 .*EHLO lab\r\n.*STARTTLS\r\n220 .*EHLO lab\r\n.*MAIL FROM.*the mail of upgraded.*QUIT/s,
      );

      await sendMail(stage, bypassed, stage.pki.root.certificate);
      const [, dialogue, ciphertext] = await conversations(wire, MAIL.smtp, APPLICATION_DATA);
      assert.match(dialogue!, /^220 .*EHLO lab\r\n.*STARTTLS\r\n220 [^\r]*\r\n$/s);
      assert.ok(ciphertext!.startsWith(HANDSHAKE));
      for (const said of [dialogue, ciphertext]) assert.ok(!said!.includes("MAIL FROM"));

      await askProxy(stage);
      const [tunnel] = await conversations(wire, MAIL.proxy, "TLSv1.3 HTTP/1.1");
      assert.match(tunnel!, /^CONNECT .* 200 .*GET \/ HTTP\/1\.1\r\n.*HTTP\/1\.1 200 OK/s);

      const records = await closed(stage, 3);
      assert.deepEqual(
        records.map(({ verdict, phase, startTls }) => [verdict, phase, startTls?.protocol, startTls?.outcome]),
        [
          ["decrypt", "certificate", "SMTP", "upgraded"],
          ["bypass", "certificate", "SMTP", "upgraded"],
          ["decrypt", "certificate", "CONNECT", "upgraded"],
        ],
      );
      for (const { tools } of records) assert.deepEqual(tools, [{ name: tool.name, state: "connected" }]);
      const box = join(mail.folder, "box/new");
      const mails = await until("both mails", () => {
        const names = readdirSync(join(mail.folder, "box")).includes("new") ? readdirSync(box) : [];
        return names.length === 2 && names.map((name) => readFileSync(join(box, name), "utf8")).sort();
      });
      for (const host of ["upgraded", bypassed]) assert.ok(mails.some((text) => text.includes(`the mail of ${host}`)));
      return `tcpdump in the tool: ${read!.length} bytes of one mail, ${dialogue!.length} before the bypass, ${tunnel!.length} of a tunnel`;
    },
  };
}

/** curl sends a mail to Postfix with STARTTLS. The session's host tells which mail it was. */
async function sendMail({ network: { client, server } }: Stage, name: string, trust: string): Promise<void> {
  const host = hostOf(`/${name}`, 4);
  const to = ["--resolve", `${host}:${MAIL.smtp}:${server.address[4]}`, `smtp://${host}:${MAIL.smtp}/lab`];
  const from = ["--mail-from", `bob@${MAIL_DOMAIN}`, "--mail-rcpt", `${USER}@${MAIL_DOMAIN}`, "-T", "-"];
  const input = `Subject: lab\r\n\r\nthe mail of ${name}\r\n`;
  await client.must("curl", ["-sS", "--ssl-reqd", "-m", "15", "--cacert", trust, ...from, ...to], { input });
}

/** curl asks tinyproxy for a tunnel to the nginx beside it. */
async function askProxy({ network: { client, server }, node }: Stage): Promise<void> {
  const host = hostOf("/tunnel", 4);
  const proxy = ["-x", `http://${USER}:${PASSWORD}@${server.address[4]}:${MAIL.proxy}`];
  const to = ["--connect-to", `::${server.address[4]}:${PORTS.https}`, `https://${host}/`];
  await client.must("curl", ["-sS", "-f", "--http1.1", "-m", "15", "--cacert", node.authorities, ...proxy, ...to]);
}

/**
 * The bytes of each connection to the server's port, oldest first, once the last connection has `last`. Connections may have
 * the same ends one after the other, because the node reconnects for the same client.
 */
function conversations(wire: Wire, port: number, last: string): Promise<readonly string[]> {
  return wire.shows(JSON.stringify(last), (frames) => {
    const said: string[] = [];
    const places = new Map<number, number>();
    const sent = new Set<string>();
    for (const { ip } of frames) {
      const { tcp } = ip ?? {};
      if (tcp?.from !== port && tcp?.to !== port) continue;
      const begins = tcp.flags === "S";
      const segment = `${tcp.from} ${tcp.sequence} ${tcp.payload.length}`;
      // A segment may be sent again.
      if ((!begins && tcp.payload.length === 0) || sent.has(segment)) continue;
      sent.add(segment);
      const client = tcp.to === port ? tcp.from : tcp.to;
      if (begins) places.set(client, said.push("") - 1);
      else said[places.get(client) ?? 0] += tcp.payload.toString("latin1");
    }
    return said.at(-1)?.includes(last) ? said : undefined;
  });
}

/** The records of this many sessions with the servers, oldest first. */
function closed({ node }: Stage, count: number): Promise<readonly Session[]> {
  const ports: readonly number[] = [MAIL.smtp, MAIL.proxy];
  return until(`${count} closed sessions`, async () => {
    const found = (await node.sessions()).filter(({ server }) => server && ports.includes(server.port));
    found.sort((a, b) => a.start - b.start);
    return found.length === count && found.every(({ end }) => end !== null) && found;
  });
}
