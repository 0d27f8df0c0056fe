import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";

/** A proxy that takes CONNECT. */
export interface ProxyPlace {
  readonly address: string;
  readonly port: number;
  /** It takes it inside of TLS. */
  readonly tls?: true;
}

/** The clients of the bench are programs of their own, in the network namespace of the client. Their argument is a job. */
export interface Job {
  readonly target: { readonly name: string; readonly address: string; readonly port: number };
  readonly proxy?: ProxyPlace;
}

/** The one group of all handshakes, so that no subject has cheaper ones than another. */
const GROUP = "P-256";

/** The job of this program. Its failure is printed on one line, for the bench to report. */
export function takeJob<T extends Job>(): T {
  process.once("uncaughtException", (error: Error) => {
    console.log(error.message);
    process.exit(1);
  });
  return JSON.parse(process.argv[2] ?? "{}") as T;
}

/** Opens a session. The bench verifies no certificate; the tests do. */
export async function connect({ target, proxy }: Job, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const { address, port } = proxy ?? target;
  const fixed = { servername: "localhost", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"], ecdhCurve: GROUP };
  const plain = net.connect({ host: address, port, noDelay: true });
  const way = proxy?.tls ? tls.connect({ socket: plain, ...fixed }) : plain;
  if (proxy !== undefined) {
    const authority = `${target.name}:${target.port}`;
    way.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const [answer] = (await once(way, "data")) as [Buffer];
    const [line] = answer.toString("latin1").split("\r");
    if (!line!.startsWith("HTTP/1.1 200")) throw new Error(`CONNECT was answered "${line}"`);
  }
  const socket = tls.connect({ socket: way, ...fixed, ...options });
  await once(socket, "secureConnect");
  return socket;
}

/** Whether the node shows a certificate of its own. */
export function isDecrypted(socket: tls.TLSSocket): boolean {
  return /Clearline/.test(String(socket.getPeerCertificate().issuer?.O));
}
