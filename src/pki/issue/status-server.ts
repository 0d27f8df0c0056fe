import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Cache } from "../../cache.ts";
import { ConfigError, PeerError } from "../../errors.ts";
import { encodeExtension } from "../x509/certificate-writing.ts";
import { encode, encodeOid, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import type { Authorities } from "./authority.ts";
import type { Authority } from "./authority-reading.ts";
import { answerGood, isOf, readCertId, refuseRequest, writeEmptyList } from "./status.ts";

/**
 * What the node's CAs publish of the certificates that they issue: an OCSP responder, revocation lists and the CAs' certificates, over
 * plain HTTP (RFC 5280, section 4.2.1.13). Clients with checks on, such as SChannel and Java, refuse certificates without.
 */

/** Where clients find it, in an issued certificate. `url`: without a slash at its end. */
export function statusExtensions(url: string, authority: Pick<Authority, "sha256">): Buffer[] {
  const place = (path: string) => encode(URI, Buffer.from(`${url}${path}`));
  const access = (method: string, path: string) => encode(TAG.sequence, encodeOid(method), place(path));
  const point = encode(TAG.sequence, encode(0xa0, encode(0xa0, place(`/${nameOf(authority)}.crl`))));
  const accesses = [access(OID.ocsp, "/ocsp"), access(OID.caIssuers, `/${nameOf(authority)}.crt`)];
  return [
    encodeExtension(OID.authorityInformationAccess, false, encode(TAG.sequence, ...accesses)),
    encodeExtension(OID.crlDistributionPoints, false, encode(TAG.sequence, point)),
  ];
}

/** uniformResourceIdentifier of GeneralName. */
const URI = 0x86;

function nameOf({ sha256 }: Pick<Authority, "sha256">): string {
  return sha256.slice(0, 16);
}

/** More than one request needs. */
const MAX_REQUEST = 4096;
/** Each may cost a signature. */
const MAX_CONNECTIONS = 64;
const TIMEOUT = 10_000;
/** ms that an answer is kept; it counts for days. */
const KEEP = 3_600_000;

interface Answer {
  readonly type: string;
  readonly body: Buffer;
}

export interface StatusServer {
  close(): Promise<void>;
}

/** Throws ConfigError, for the path `signing.status.address`, when it cannot listen. */
export async function openStatusServer(
  authorities: Authorities,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<StatusServer> {
  const answers = new Cache<Answer>({ entries: 2_000, bytes: 4 * 2 ** 20, sizeOf: ({ body }) => body.length });
  const server = createServer({ requestTimeout: TIMEOUT, headersTimeout: TIMEOUT }, (request, response) => {
    answer(request, authorities, answers).then(
      (found) => send(response, found),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError("signing.status.address", `Cannot listen on ${host} port ${port}: ${code}`, { cause: error });
  }
  // A later error, such as a shortage of memory, costs one connection, not the supervisor.
  server.on("error", () => {});
  return {
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function send(response: ServerResponse, found: Answer | undefined): void {
  if (!found) return void response.writeHead(404).end();
  response.writeHead(200, { "content-type": found.type, "cache-control": `max-age=${KEEP / 1000}` }).end(found.body);
}

async function answer(
  request: IncomingMessage,
  authorities: Authorities,
  answers: Cache<Answer>,
): Promise<Answer | undefined> {
  const { method, url = "" } = request;
  const [, path = ""] = /^\/([^?]*)$/.exec(url) ?? [];
  if (method === "POST" && path === "ocsp") return answerRequest(await readBody(request), authorities, answers);
  if (method !== "GET") return undefined;
  const [, asked] = /^ocsp\/(.{1,6000})$/.exec(path) ?? [];
  if (asked !== undefined) return answerRequest(fromBase64(asked), authorities, answers);
  return publish(path, authorities, answers);
}

/** GET has the request in base64, with "/" and "+" escaped or not: RFC 6960, appendix A.1. */
function fromBase64(text: string): Buffer {
  try {
    return Buffer.from(decodeURIComponent(text), "base64");
  } catch {
    return Buffer.alloc(0);
  }
}

async function answerRequest(request: Buffer, authorities: Authorities, answers: Cache<Answer>): Promise<Answer> {
  const type = "application/ocsp-response";
  try {
    const certId = readCertId(request);
    const issuer = certId && authorities.list().find((one) => isOf(certId, one));
    if (!certId || !issuer) return { type, body: refuseRequest("unauthorized") };
    const now = Date.now();
    return await answers.take(`ocsp ${certId.whole.toString("base64")}`, now, async () => {
      return { value: { type, body: await answerGood(certId.whole, issuer, now) }, until: now + KEEP };
    });
  } catch (error) {
    if (error instanceof PeerError) return { type, body: refuseRequest("malformedRequest") };
    throw error;
  }
}

/** A CA's certificate or revocation list. */
async function publish(path: string, authorities: Authorities, answers: Cache<Answer>): Promise<Answer | undefined> {
  const [, name, kind] = /^([0-9a-f]{16})\.(crl|crt)$/.exec(path) ?? [];
  const authority = authorities.list().find((one) => nameOf(one) === name);
  if (!authority) return undefined;
  if (kind === "crt") return { type: "application/pkix-cert", body: authority.certificate.raw };
  const now = Date.now();
  return answers.take(path, now, async () => {
    const value = { type: "application/pkix-crl", body: await writeEmptyList(authority, now) };
    return { value, until: now + KEEP };
  });
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_REQUEST) return Buffer.alloc(0);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
