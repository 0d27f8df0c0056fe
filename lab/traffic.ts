import { OPENSSL_ANY, OPENSSL_VERSIONS, type TlsVersion } from "../test/peers.ts";
import { DOMAIN } from "../test/pki.ts";
import { pause } from "../test/processes.ts";
import type { Stage } from "./claim.ts";
import { ask, dial, nextLine } from "./ends.ts";
import { FAMILIES, type Family } from "./network.ts";
import { PORTS } from "./servers.ts";

/** A kind of traffic. `run` resolves with whether it succeeded. */
interface Kind {
  readonly name: string;
  run(family: Family): Promise<boolean>;
}

/** The result of one round. */
export interface Round {
  readonly done: number;
  readonly failed: readonly string[];
}

const PAUSE = 1000;

/** Makes every kind of traffic over both families, round after round with a pause between them, until `signal` fires. */
export async function makeTraffic(stage: Stage, signal: AbortSignal, report: (round: Round) => void): Promise<void> {
  const kinds = kindsOf(stage);
  while (!signal.aborted) {
    const failed: string[] = [];
    let done = 0;
    for (const { name, run } of kinds) {
      for (const family of FAMILIES) {
        if (signal.aborted) return;
        done++;
        if (!(await run(family).catch(() => false))) failed.push(`${name} over IPv${family}`);
      }
    }
    report({ done, failed });
    await pause(PAUSE);
  }
}

function kindsOf({ network: { client, server }, node, pki }: Stage): readonly Kind[] {
  const name = `www.${DOMAIN}`;
  const well = async (program: string, args: readonly string[]) =>
    (await client.run(program, args, { input: "", within: 15_000 })).code === 0;
  const page = (port: number, authority: string, version: string) => (family: Family) => {
    const address = family === 6 ? `[${server.address[6]}]` : server.address[4];
    const to = ["--resolve", `${name}:${port}:${address}`, `https://${name}:${port}/`];
    return well("curl", ["-sS", "-f", "-m", "10", "-o", "/dev/null", "--cacert", authority, version, ...to]);
  };
  const handshake = (version: TlsVersion, port: number) => (family: Family) => {
    const address = family === 6 ? `[${server.address[6]}]` : server.address[4];
    const to = ["-connect", `${address}:${port}`, "-servername", name, OPENSSL_VERSIONS[version], ...OPENSSL_ANY];
    return well("openssl", ["s_client", ...to, "-CAfile", node.authorities, "-verify_return_error", "-brief"]);
  };
  return [
    { name: "HTTP/1.1", run: page(PORTS.https, node.authorities, "--http1.1") },
    { name: "HTTP/2", run: page(PORTS.https, node.authorities, "--http2") },
    { name: "TLS on an odd port", run: page(PORTS.odd, node.authorities, "--http2") },
    { name: "HTTP/2 past the node", run: page(PORTS.bypassed, pki.root.certificate, "--http2") },
    { name: "TLS 1.0", run: handshake("TLSv1", PORTS.tls10) },
    { name: "TLS 1.1", run: handshake("TLSv1.1", PORTS.tls11) },
    { name: "TLS 1.2", run: handshake("TLSv1.2", PORTS.https) },
    { name: "TLS 1.3", run: handshake("TLSv1.3", PORTS.https) },
    {
      name: "plaintext TCP",
      async run(family) {
        const socket = await dial(client, { address: server.address[family], port: PORTS.echo });
        socket.write("hello\n");
        const same = (await nextLine(socket)) === "hello";
        socket.end();
        return same;
      },
    },
    {
      name: "UDP",
      async run(family) {
        const answer = await ask(client, { address: server.address[family], port: PORTS.echo }, Buffer.from("hello"));
        return String(answer) === "hello";
      },
    },
    { name: "ping", run: (family) => well("ping", ["-c", "1", "-W", "2", server.address[family]]) },
  ];
}
