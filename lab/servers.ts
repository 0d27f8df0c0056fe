import { writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { OPENSSL_ANY, OPENSSL_VERSIONS } from "../test/peers.ts";
import type { Identity } from "../test/pki.ts";
import { scratch, until } from "../test/processes.ts";
import { echoDatagrams, serve } from "./ends.ts";
import type { End } from "./network.ts";

/** The ports of the server host. */
export const PORTS = {
  /** nginx, without TLS: it answers with the host and the path that it was asked for. */
  http: 80,
  /** nginx, with HTTP/1.1 and HTTP/2 over TLS 1.2 and 1.3. */
  https: 443,
  /** The same on a port that is not known for TLS. */
  odd: 17_777,
  /** The same again: the lab's configuration bypasses this port in the network phase. */
  bypassed: 4443,
  /** openssl s_server, with TLS 1.0 only and with TLS 1.1 only. */
  tls10: 1010,
  tls11: 1011,
  /** Plaintext, TCP and UDP: sends everything back. */
  echo: 7,
  /** The server speaks first: it sends the client's address and port as it sees them. */
  who: 79,
  /** Accepts, and says nothing. */
  silent: 9,
  /** For dialogues that the node does not know: it watches the first port for StartTLS. */
  talk: 6667,
  unwatched: 6668,
  /** No server listens here. */
  closed: 81,
} as const;

export interface Servers extends AsyncDisposable {
  /** "address port" of the clients that each plaintext server has accepted, by the server's port. */
  readonly accepted: ReadonlyMap<number, readonly string[]>;
}

/** Starts every server of the lab in a host, and resolves once all listen. */
export async function startServers(on: End, identity: Identity): Promise<Servers> {
  const stack = new AsyncDisposableStack();
  const accepted = new Map<number, string[]>();
  const plain = async (port: number, answer: (client: Socket, who: string) => void) => {
    accepted.set(port, []);
    const server = await serve(on, port, (client) => {
      const who = `${client.remoteAddress} ${client.remotePort}`;
      accepted.get(port)?.push(who);
      answer(client, who);
    });
    stack.use(server);
  };
  await plain(PORTS.echo, (client) => client.pipe(client));
  await plain(PORTS.who, (client, who) => client.write(`${who}\n`) && client.resume().on("end", () => client.end()));
  await plain(PORTS.silent, (client) => client.resume().on("end", () => client.end()));
  for (const port of [PORTS.echo, PORTS.https]) stack.use(await echoDatagrams(on, port));

  const nginx = on.start("/usr/sbin/nginx", ["-c", nginxFile(identity), "-e", "stderr"]);
  const old = (["TLSv1", "TLSv1.1"] as const).map((version) => {
    const port = version === "TLSv1" ? PORTS.tls10 : PORTS.tls11;
    const pair = ["-cert", identity.certificate, "-key", identity.key];
    return on.start("openssl", [
      "s_server",
      ...["-accept", String(port), OPENSSL_VERSIONS[version], "-www", ...pair, ...OPENSSL_ANY],
    ]);
  });
  stack.defer(async () => {
    await Promise.all([nginx, ...old].map((program) => program.stop()));
  });
  const over = [nginx, ...old].map((program) => program.ended.then(({ stderr }) => Promise.reject(new Error(stderr))));
  await Promise.race([
    listening(on, [PORTS.http, PORTS.https, PORTS.odd, PORTS.bypassed, PORTS.tls10, PORTS.tls11]),
    ...over,
  ]);
  // From here on, their end is no error.
  for (const end of over) end.catch(() => {});
  return { accepted, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function listening(on: End, ports: readonly number[]): Promise<void> {
  await until("the lab's servers listen", async () => {
    const sockets = await on.must("ss", ["-Htln"]);
    return ports.every((port) => sockets.includes(`:${port} `));
  });
}

function nginxFile(identity: Identity): string {
  const folder = scratch();
  const file = join(folder, "nginx.conf");
  const listen = [PORTS.https, PORTS.odd, PORTS.bypassed]
    .flatMap((port) => [`listen ${port} ssl http2;`, `listen [::]:${port} ssl http2;`])
    .join("\n    ");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    file,
    `daemon off;
user root;
pid ${folder}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events { worker_connections 2048; }
http {
  access_log off;
  ${temporary.join("\n  ")}
  server {
    ${listen}
    ssl_certificate ${identity.certificate};
    ssl_certificate_key ${identity.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    keepalive_requests 100000;
    default_type text/plain;
    location / { return 200 "$ssl_protocol $server_protocol $remote_addr\\n"; }
  }
  server {
    listen ${PORTS.http};
    listen [::]:${PORTS.http};
    default_type text/plain;
    location / { return 200 "$http_host$request_uri $remote_addr\\n"; }
  }
}
`,
  );
  return file;
}
