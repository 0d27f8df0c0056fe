import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KeyType } from "../../src/vocabulary.ts";
import { GET, opensslClient, type Way } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { OPENSSL_VERSIONS, type Origin, opensslServer, type TlsVersion } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { must } from "../processes.ts";

const VERSIONS = Object.keys(OPENSSL_VERSIONS) as TlsVersion[];
const KEY_TYPES: readonly KeyType[] = ["rsa", "ecdsa"];
const WAYS = ["explicit", "forward", "inbound"] as const;

describe("OpenSSL", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  let suites: ReadonlyMap<string, string>;
  const origins = new Map<string, Origin>();
  const listener = (version: TlsVersion, keyType: KeyType) => `${version}-${keyType}`.replace(".", "").toLowerCase();

  before(async () => {
    pki = await makePki();
    suites = await suiteNames();
    for (const version of VERSIONS) {
      for (const keyType of KEY_TYPES) {
        origins.set(listener(version, keyType), await opensslServer(pki.server[keyType], { version }));
      }
    }
    const hosts = [`*.in.${DOMAIN}`];
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: Object.fromEntries([...origins].map(([name, { port }]) => [name, port])),
      config: {
        policy: { versions: { min: "TLSv1" } },
        keys: KEY_TYPES.map((keyType) => ({ hosts, ...pki.server[keyType] })),
      },
    });
  });
  after(async () => {
    await node?.stop();
    for (const { process } of origins.values()) await process.stop();
  });

  for (const version of VERSIONS) {
    for (const keyType of KEY_TYPES) {
      for (const way of WAYS) {
        test(`s_client reaches s_server with ${version} and an ${keyType} certificate, ${way}`, async () => {
          const name = `${listener(version, keyType)}-${way}.${way === "inbound" ? "in." : ""}${DOMAIN}`;
          const target = origins.get(listener(version, keyType))!.port;
          const path: Way =
            way === "explicit" ? { proxy: node.proxy, target } : { port: node.forward(listener(version, keyType)) };
          const roots = way === "inbound" ? pki.root.certificate : node.primary;

          const { code, stdout, stderr } = await opensslClient({ way: path, name, roots, version, input: GET });
          assert.equal(code, 0, stderr);
          const [client, server] = stdout.split("<pre>") as [string, string | undefined];
          assert.ok(server !== undefined, `no page came:\n${stdout}${stderr}`);
          assert.match(client, /Verification: OK/);
          assert.equal(protocolOf(client), version);
          assert.equal(protocolOf(server), version);

          const session = await node.session(name);
          assert.deepEqual(
            {
              verdict: session.verdict,
              sni: session.sni,
              deployment: session.deployment,
              listener: session.listener,
              clientVersion: session.clientLeg.version,
              serverVersion: session.serverLeg.version,
              clientSuite: session.clientLeg.suite,
              serverSuite: session.serverLeg.suite,
              subject: session.certificate?.subject.includes(`${keyType}.${DOMAIN}`),
              faults: session.certificate?.faults,
              authority: session.presented?.authority,
            },
            {
              verdict: "decrypt",
              sni: name,
              deployment: way === "inbound" ? "inbound" : "outbound",
              listener: way === "explicit" ? "proxy" : listener(version, keyType),
              clientVersion: version,
              serverVersion: version,
              clientSuite: suites.get(suiteOf(client)),
              serverSuite: suites.get(suiteOf(server)),
              subject: true,
              faults: [],
              authority: way === "inbound" ? "inbound" : "primary",
            },
          );
          assert.equal(session.serverLeg.sent, GET.length);
          assert.equal(session.clientLeg.received, GET.length);
          assert.equal(session.clientLeg.sent, session.serverLeg.received);
        });
      }
    }
  }
});

/** With TLS 1.3, s_client prints its session only when a ticket comes; the line above it has the suite's version. */
function protocolOf(text: string): string | undefined {
  return (/^\s*Protocol *: (\S+)/m.exec(text) ?? /^New, (\S+),/m.exec(text))?.[1];
}

function suiteOf(text: string): string {
  return /Cipher is (\S+)/.exec(text)?.[1] ?? "none";
}

/** OpenSSL's names of suites, with IANA's. */
async function suiteNames(): Promise<ReadonlyMap<string, string>> {
  const list = await must(program("openssl"), ["ciphers", "-stdname", "ALL:@SECLEVEL=0"]);
  return new Map([...list.matchAll(/^(\S+)\s+- (\S+)/gm)].map(([, iana, openssl]) => [openssl!, iana!]));
}
