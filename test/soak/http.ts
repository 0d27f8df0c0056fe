import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import type { TestNode } from "../node.ts";
import type { Pki } from "../pki.ts";
import { noise } from "./transfer.ts";
import type { Trust } from "./trust.ts";

/** HTTP in a soak: plain through the explicit proxy, HTTP/1.1 and HTTP/2 in TLS through a forwarding listener. */

export type Web = "http" | "https" | "h2";

/** Serves what is asked for: /UP/DOWN gets the hash of the request's body, and that part of the noise. */
export async function serveWeb({ server }: Pki) {
  const [cert, key] = [readFileSync(server.ecdsa.certificate), readFileSync(server.ecdsa.key)];
  const answer = async (
    asked: Readable & { url?: string | undefined },
    reply: http.ServerResponse | http2.Http2ServerResponse,
  ) => {
    const [, up = 0, down = 0] = (asked.url ?? "").split("/").map(Number);
    const hash = createHash("sha256")
      .update(await whole(asked))
      .digest("hex");
    reply.setHeader("x-hash", hash);
    reply.end(noise.subarray(up, up + down));
  };
  const listener = (
    asked: http.IncomingMessage | http2.Http2ServerRequest,
    reply: http.ServerResponse | http2.Http2ServerResponse,
  ) =>
    // What goes wrong here is seen at the client.
    void answer(asked, reply).catch(() => asked.destroy());
  const plain = http.createServer(listener);
  const secure = http2.createSecureServer({ cert, key, allowHTTP1: true }, listener);
  const ports = [];
  for (const one of [plain, secure]) {
    await once(one.listen(0, "127.0.0.1"), "listening");
    ports.push((one.address() as AddressInfo).port);
  }
  return {
    plain: ports[0]!,
    secure: ports[1]!,
    close() {
      plain.close();
      secure.close();
    },
  };
}

interface Request {
  readonly kind: Web;
  readonly host: string;
  readonly up: number;
  readonly down: number;
}

interface Place {
  readonly node: TestNode;
  readonly trust: Trust;
  readonly ports: Readonly<Record<string, number>>;
}

/** One request on a connection of its own. */
export async function request({ node, trust, ports }: Place, { kind, host, up, down }: Request): Promise<void> {
  const began = Date.now();
  const sent = noise.subarray(down, down + up);
  const path = `/${up}/${down}`;
  if (kind === "http") {
    const url = `http://127.0.0.1:${ports["http"]}${path}`;
    const asked = http.request({
      port: node.proxy,
      path: url,
      method: "POST",
      agent: false,
      headers: { host: url.slice(7) },
    });
    return compare(await answerOf(asked, sent), { sent, up, down });
  }
  const alpn = kind === "h2" ? "h2" : "http/1.1";
  const socket = tlsConnect({
    port: node.forward("web"),
    servername: host,
    ALPNProtocols: [alpn],
    rejectUnauthorized: false,
  });
  try {
    await once(socket, "secureConnect");
    if (socket.alpnProtocol !== alpn) throw new Error(`ALPN chose ${socket.alpnProtocol}`);
    await trust.check(socket.getPeerX509Certificate()!, host, began);
    const answer = kind === "h2" ? ofHttp2(socket, path, sent) : ofHttps(socket, path, sent);
    compare(await answer, { sent, up, down });
  } finally {
    socket.destroy();
  }
}

interface Answer {
  readonly hash: unknown;
  readonly body: Buffer;
}

function ofHttps(socket: TLSSocket, path: string, sent: Buffer): Promise<Answer> {
  return answerOf(https.request({ createConnection: () => socket, path, method: "POST", host: "web" }), sent);
}

async function ofHttp2(socket: TLSSocket, path: string, sent: Buffer): Promise<Answer> {
  const session = http2.connect("https://web", { createConnection: () => socket });
  try {
    const failed = once(session, "error").then(([error]) => Promise.reject(error));
    const stream = session.request({ ":method": "POST", ":path": path });
    stream.end(sent);
    const [headers] = await Promise.race([once(stream, "response"), failed]);
    return { hash: headers["x-hash"], body: await Promise.race([whole(stream), failed]) };
  } finally {
    session.destroy();
  }
}

async function answerOf(asked: http.ClientRequest, sent: Buffer): Promise<Answer> {
  asked.end(sent);
  const [reply] = (await once(asked, "response")) as [http.IncomingMessage];
  if (reply.statusCode !== 200) throw new Error(`the answer is ${reply.statusCode}`);
  return { hash: reply.headers["x-hash"], body: await whole(reply) };
}

async function whole(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function compare({ hash, body }: Answer, { sent, up, down }: { sent: Buffer; up: number; down: number }): void {
  if (hash !== createHash("sha256").update(sent).digest("hex")) throw new Error("the server got other bytes");
  if (!body.equals(noise.subarray(up, up + down))) throw new Error(`${body.length} bytes came, and not those sent`);
}
