import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { Context } from "../../src/engine/contexts.ts";
import type { End } from "../../src/engine/end.ts";
import type { Layer } from "../../src/engine/layer.ts";
import { listen } from "../../src/engine/listen.ts";
import { OpensslLayer } from "../../src/engine/openssl-layer.ts";
import { Ssl3Layer } from "../../src/engine/ssl3-layer.ts";
import { loop, readBytes, shake, writeAll, writer } from "../../src/engine/test-ends.ts";
import { within } from "../../src/linux/netns.ts";
import { createClient } from "../../src/ssl3/client.ts";
import { createServer } from "../../src/ssl3/server.ts";
import { suitesFor } from "../../src/ssl3/suites.ts";
import { VERSIONS } from "../../src/vocabulary.ts";
import type { Identity } from "../pki.ts";
import type { SoakNetwork } from "./network.ts";
import { answer } from "./transfer.ts";

/** The servers of a soak, and the TLS of its clients. */

export type Kind = "plain" | "SSLv3" | "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
/** mail: TLS begins with STARTTLS. */
export const SERVERS = ["plain", "SSLv3", "tls", "mail"] as const;
export type Server = (typeof SERVERS)[number];

const ANY = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0";
const common = { ciphers: ANY, tickets: true, sessions: false, keyLog: false };
const clients = new Map<Kind, Context>();

/** Shakes hands as a client. Returns the certificate that it was shown. */
export async function secureAsClient(end: End, kind: Kind, serverName: string): Promise<X509Certificate> {
  if (kind === "SSLv3") {
    const suites = suitesFor("all").map(({ id }) => id);
    const options = { random: randomBytes, suites, dhBits: 4096, fallback: false, session: undefined };
    const layer = new Ssl3Layer(end.takeWire(), createClient(options));
    await secure(end, layer);
    return shownOf(layer.established?.certificates);
  }
  const version = VERSIONS[kind as Exclude<Kind, "plain">];
  const context =
    clients.get(kind) ?? new Context({ role: "client", ...common, minVersion: version, maxVersion: version, alpn: [] });
  clients.set(kind, context);
  const layer = new OpensslLayer({ end, writer, context, serverName });
  await secure(end, layer);
  return shownOf(layer.peerChain());
}

function shownOf(chain: readonly Buffer[] | undefined): X509Certificate {
  const own = chain?.[0];
  if (!own) throw new Error("the client was shown no certificate");
  return new X509Certificate(own);
}

async function secure(end: End, layer: Layer): Promise<void> {
  const { agreed } = await shake(end, layer);
  if (!("version" in agreed)) throw new Error(`the handshake failed: ${agreed.code}`);
}

/** The same server on loopback and, where there is one, in the server's network. */
export function serve(name: Server, identity: Identity, network: SoakNetwork | undefined) {
  const layerOf = name === "SSLv3" ? ssl3Server(identity) : tlsServer(identity);
  const welcome = async (end: End) => {
    if (name === "mail") await mailServer(end);
    if (name !== "plain") await secure(end, layerOf(end));
    await answer(end);
  };
  const listenAt = (host: string) =>
    listen(loop, { host, port: 0, shared: false }, (end) => {
      // What goes wrong here is seen at the client.
      welcome(end).catch(() => end.reset());
    });
  const { namespace, address } = network?.crossing.server ?? {};
  const far = namespace && address ? within(namespace, () => listenAt(address)) : undefined;
  return { near: listenAt("127.0.0.1"), far };
}

function tlsServer({ certificate, key }: Identity): (end: End) => Layer {
  const identities = [{ certificatePem: readFileSync(certificate, "utf8"), keyPem: readFileSync(key, "utf8") }];
  const versions = { minVersion: VERSIONS.TLSv1, maxVersion: VERSIONS["TLSv1.3"] };
  const context = new Context({ role: "server", ...common, ...versions, identities, sessionTimeout: 300 });
  return (end) => new OpensslLayer({ end, writer, context });
}

function ssl3Server({ certificate, key }: Identity): (end: End) => Layer {
  const chain = [new X509Certificate(readFileSync(certificate)).raw];
  const identities = [{ chain, key: createPrivateKey(readFileSync(key)) }];
  const options = { random: randomBytes, identities, suites: "all" as const, find: undefined };
  return (end) => new Ssl3Layer(end.takeWire(), createServer({ ...options, highest: VERSIONS.SSLv3 }));
}

/** Who speaks, and what: RFC 3207. */
const DIALOGUE = [
  ["server", "220 mail.clearline.test ESMTP\r\n"],
  ["client", "EHLO client.clearline.test\r\n"],
  ["server", "250-mail.clearline.test\r\n250 STARTTLS\r\n"],
  ["client", "STARTTLS\r\n"],
  ["server", "220 Go ahead\r\n"],
] as const;

const mailServer = (end: End) => speak(end, "server");
export const mailClient = (end: End) => speak(end, "client");

async function speak(end: End, as: "server" | "client"): Promise<void> {
  for (const [who, line] of DIALOGUE) {
    if (who === as) await writeAll(end, Buffer.from(line));
    else {
      const { bytes } = await readBytes(end, line.length);
      if (bytes.toString() !== line) throw new Error(`the other side said ${JSON.stringify(bytes.toString())}`);
    }
  }
}
