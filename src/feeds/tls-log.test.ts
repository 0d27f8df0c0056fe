import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import type { TlsDetails, TlsSession } from "./feed.ts";
import { createTlsLogFeed } from "./tls-log.ts";

const SESSION: TlsSession = {
  ...{ id: "1", listener: "wire", vlan: "100/10", communityId: null, protocol: "tls", sni: "mail.test" },
  client: { address: "10.0.0.1", port: 50_000 },
  server: { address: "10.0.0.2", port: 25 },
  startTls: { protocol: "SMTP" },
  ...{ ja3: hash("md5", "771,1,2,3,4"), ja4: "t13", deployment: "outbound", certificate: null, presented: null },
  ...{ verdict: "decrypt", phase: "sni", rule: "default", reason: "", start: 0, end: 1, closeReason: "" },
  clientLeg: { received: 1, sent: 1 },
  serverLeg: { received: 1, sent: 1, version: "TLSv1.2", alpn: null, resumed: true },
  ...{ outcome: "decrypted", cause: null, blame: null },
};
const DETAILS = { ja3Text: "771,1,2,3,4", ja3sText: "771,5,6-7", clientAlpns: ["h2", "smtp"] };

async function lineOf(format: "eve" | "zeek", session: TlsSession, details: TlsDetails) {
  const folder = mkdtempSync(join(tmpdir(), "clearline-tls-log-"));
  try {
    const file = join(folder, "tls.json");
    const feed = await createTlsLogFeed({
      ...{ name: "tls", file, log: pino({ enabled: false }), format, rotate: 1_000_000, keep: 2, worker: 0 },
    });
    feed.takeSession?.(session, details);
    await feed.close();
    return JSON.parse(readFileSync(file, "utf8"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("Suricata's shape has the VLANs, both fingerprints with their texts, the client's protocols, and where TLS came from", async () => {
  const { vlan, tls } = await lineOf("eve", SESSION, DETAILS);
  assert.deepEqual(vlan, [100, 10]);
  assert.deepEqual(tls, {
    ...{ sni: "mail.test", version: "TLS 1.2", session_resumed: true, ja4: "t13", from_proto: "smtp" },
    ja3: { hash: SESSION.ja3, string: DETAILS.ja3Text },
    ja3s: { hash: hash("md5", DETAILS.ja3sText), string: DETAILS.ja3sText },
    client_alpns: ["h2", "smtp"],
  });
});

test("What is not known is left out", async () => {
  const bare = { ...SESSION, vlan: null, startTls: null, serverLeg: { received: 0, sent: 0 } };
  const { vlan, tls } = await lineOf("eve", bare, {});
  assert.equal(vlan, undefined);
  assert.deepEqual(tls, { sni: "mail.test", ja4: "t13", ja3: { hash: SESSION.ja3 } });
  const { clearline: _, ...line } = await lineOf("zeek", bare, {});
  assert.deepEqual(
    Object.keys(line).filter((key) => /vlan|ja3s|version/.test(key)),
    [],
  );
});

test("Zeek's shape has the VLANs and the server's fingerprint", async () => {
  const { vlan, inner_vlan, ja3s } = await lineOf("zeek", SESSION, DETAILS);
  assert.deepEqual([vlan, inner_vlan, ja3s], [100, 10, hash("md5", DETAILS.ja3sText)]);
  const single = await lineOf("zeek", { ...SESSION, vlan: "10" }, DETAILS);
  assert.deepEqual([single.vlan, single.inner_vlan], [10, undefined]);
});
