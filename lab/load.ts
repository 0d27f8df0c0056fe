import { once } from "node:events";
import { setImmediate as immediately } from "node:timers/promises";
import { connect } from "node:tls";
import { DOMAIN } from "../test/pki.ts";
import type { Stage } from "./claim.ts";
import { dial } from "./ends.ts";
import { PORTS } from "./servers.ts";

/** One request, on a new connection. Times are ms of `performance.now`. */
export interface Request {
  readonly start: number;
  readonly end: number;
  /** Who presented the certificate: the node (its CA signed it) or the server. undefined: there was no answer. */
  readonly by: "node" | "server" | undefined;
  readonly error: string | undefined;
}

export interface Load extends AsyncDisposable {
  /** All finished requests. */
  readonly requests: readonly Request[];
}

const REQUEST = `GET / HTTP/1.1\r\nHost: www.${DOMAIN}\r\nConnection: close\r\n\r\n`;
/**
 * Starts clients that send one request after another, each on a new connection, until disposed of. A request may take
 * `patience` ms: the kernel sends an unanswered SYN again after one second, then after two.
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
      // Requests that fail at once must not starve the event loop.
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
  const late = () => void socket.destroy(Object.assign(new Error("The request took too long"), { code: "ETIMEDOUT" }));
  signal.addEventListener("abort", late);
  try {
    // Any certificate is accepted, because the request asks who presented it.
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
