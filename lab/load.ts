import { once } from "node:events";
import { setImmediate as immediately } from "node:timers/promises";
import { connect } from "node:tls";
import { DOMAIN } from "../test/pki.ts";
import type { Stage } from "./claim.ts";
import { dial } from "./ends.ts";
import { PORTS } from "./servers.ts";

/** One request over a connection of its own. Times in ms of `performance.now`. */
export interface Request {
  readonly start: number;
  readonly end: number;
  /** Who signed the certificate that was shown: the node, the server's own root; undefined when there was no answer. */
  readonly by: "node" | "server" | undefined;
  readonly error: string | undefined;
}

export interface Load extends AsyncDisposable {
  /** All requests that are over. */
  readonly requests: readonly Request[];
}

const REQUEST = `GET / HTTP/1.1\r\nHost: www.${DOMAIN}\r\nConnection: close\r\n\r\n`;
/**
 * Clients that ask one request after another, each over a new connection, until disposed of. A request may take `patience` ms: the
 * kernel sends a SYN that nobody answered again after one second, then after two.
 */
export function startLoad(stage: Stage, clients: number, patience = 5000): Load {
  const requests: Request[] = [];
  let on = true;
  const one = async () => {
    const start = performance.now();
    const outcome = await request(stage, patience).then(
      (by) => ({ by, error: undefined }),
      (error: NodeJS.ErrnoException) => ({ by: undefined, error: error.code ?? String(error) }),
    );
    requests.push({ start, end: performance.now(), ...outcome });
  };
  const all = Array.from({ length: clients }, async () => {
    while (on) {
      await one();
      // What fails at once must not keep everything else from happening.
      await immediately();
    }
  });
  return {
    requests,
    async [Symbol.asyncDispose]() {
      on = false;
      await Promise.all(all);
    },
  };
}

async function request({ network: { client, server } }: Stage, patience: number): Promise<"node" | "server"> {
  const signal = AbortSignal.timeout(patience);
  const socket = await dial(client, { address: server.address[4], port: PORTS.https }, { signal });
  const late = () => void socket.destroy(Object.assign(new Error("No answer"), { code: "ETIMEDOUT" }));
  signal.addEventListener("abort", late);
  try {
    // Whose certificate it is, is the question: it is not to be refused.
    const tls = connect({ socket, servername: `www.${DOMAIN}`, rejectUnauthorized: false });
    await once(tls, "secureConnect");
    const { issuer } = tls.getPeerCertificate();
    tls.write(REQUEST);
    let page = "";
    for await (const chunk of tls) page += String(chunk);
    if (!page.startsWith("HTTP/1.1 200")) throw new Error(`The answer was ${JSON.stringify(page.slice(0, 100))}`);
    return issuer.O === "Clearline" ? "node" : "server";
  } finally {
    signal.removeEventListener("abort", late);
    socket.destroy();
  }
}
