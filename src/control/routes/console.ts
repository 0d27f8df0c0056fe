import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ControlApp } from "../app.ts";

/**
 * The web console: a few files, which are read once, and compressed once somebody asks for them. They hold nothing of this node, so
 * nobody needs to be logged in for them; what the page shows it asks the API for.
 */

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Scripts and styles are files of this node only; nothing is loaded from anywhere else. */
const POLICY =
  "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; " +
  "img-src 'self' data:; script-src 'self'; style-src 'self'";

/** The places of the console that one page serves. */
const PLACES = ["/", "/policy", "/certificates", "/tools", "/node", "/sessions/:id"];

interface Asset {
  readonly type: string;
  readonly plain: Buffer;
  /** Compressed the first time that it is called. To do that at the start would take a sixth of the start's CPU time. */
  packed(encoding: Encoding): Promise<Buffer>;
}

const PACKERS = { br: promisify(brotliCompress), gzip: promisify(gzip) } as const;
type Encoding = keyof typeof PACKERS;

export async function addConsole(app: ControlApp, folder: string): Promise<void> {
  const open = { config: { open: true }, schema: { hide: true } } as const;
  const names = await readdir(folder, { recursive: true }).catch((): string[] => []);
  if (!names.includes("index.html")) {
    app.get("/", open, (_, reply) =>
      reply
        .code(503)
        .type("text/plain; charset=utf-8")
        .send("The console is not built here. Build it with: npm run -s console. The API is at /api/v1/docs.\n"),
    );
    return;
  }
  for (const name of names) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const asset = await read(join(folder, name), type);
    if (name === "index.html") for (const place of PLACES) app.get(place, open, send(asset, "no-cache"));
    // The names of the others have a hash of their content.
    else
      app.get(`/${name}`, open, send(asset, name.startsWith("assets/") ? "max-age=31536000, immutable" : "no-cache"));
  }
}

async function read(file: string, type: string): Promise<Asset> {
  const plain = await readFile(file);
  const packed = new Map<Encoding, Promise<Buffer>>();
  return {
    ...{ type, plain },
    packed(encoding) {
      const done = packed.get(encoding) ?? PACKERS[encoding](plain);
      packed.set(encoding, done);
      return done;
    },
  };
}

function send({ type, plain, packed }: Asset, caching: string) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const accepted = String(request.headers["accept-encoding"] ?? "");
    const encoding = /\bbr\b/.test(accepted) ? "br" : /\bgzip\b/.test(accepted) ? "gzip" : undefined;
    reply
      .type(type)
      .header("cache-control", caching)
      .header("content-security-policy", POLICY)
      .header("vary", "accept-encoding");
    if (encoding === undefined) return reply.send(plain);
    return reply.header("content-encoding", encoding).send(await packed(encoding));
  };
}
