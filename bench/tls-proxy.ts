import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";

/**
 * A program that is a proxy with TLS: it takes CONNECT inside of TLS and carries bytes to where the client wants to go. Its arguments are
 * its port, its certificate and its key.
 */

const [port, certificate, key] = process.argv.slice(2) as [string, string, string];
const identity = { cert: readFileSync(certificate), key: readFileSync(key), ecdhCurve: "P-256" };

tls
  .createServer({ ...identity, minVersion: "TLSv1.3" }, (client) => void serve(client))
  .listen(Number(port), "127.0.0.1");

async function serve(client: tls.TLSSocket): Promise<void> {
  client.on("error", () => client.destroy());
  let head = "";
  for await (const bytes of client.iterator({ destroyOnReturn: false })) {
    head += (bytes as Buffer).toString("latin1");
    if (head.endsWith("\r\n\r\n")) break;
  }
  const [, host, targetPort] = /^CONNECT ([^ :]+):(\d+) /.exec(head) ?? [];
  if (host === undefined) {
    client.destroy();
    return;
  }
  const server = net.connect({ host, port: Number(targetPort), noDelay: true });
  server.on("error", () => client.destroy()).on("close", () => client.destroy());
  client.on("close", () => server.destroy());
  client.write("HTTP/1.1 200 OK\r\n\r\n");
  client.pipe(server).pipe(client);
}
