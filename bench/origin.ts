import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HERE } from "./hosts.ts";
import { freePort, listening, type Program, start, WORKSHOP } from "./processes.ts";

/** The CA of the origin's certificate, with which the peers sign too. P-256, as Clearline's own CA: all have the same keys. */
export interface Authority {
  readonly certificate: string;
  readonly key: string;
}

export interface Origin {
  readonly program: Program;
  /** Without resumption: every session is a full handshake. */
  readonly port: number;
  /** With session tickets. */
  readonly resumingPort: number;
  readonly authority: Authority;
  /** The file of its own certificate. */
  readonly certificate: string;
}

export const BIG = "/big";
/** Takes any body and throws it away. */
export const UPLOAD = "/upload";
const BIG_SIZE = 2 ** 30;

/** The addresses of the origin on loopback. More than one, because each client port reaches one address only once. */
export const LOOPBACK = [1, 2, 3, 4, 5].map((last) => `127.0.0.${last}`);

/**
 * Starts nginx as a TLS 1.3 server. It listens on loopback; in a namespace at all addresses. The certificate names the
 * addresses that clients ask for. `/seen` says what the origin sees of the session.
 */
export async function startOrigin(host = HERE, addresses: readonly string[] = LOOPBACK): Promise<Origin> {
  const authority = makeAuthority();
  const leaf = makeLeaf(authority, addresses);
  const [port, resumingPort] = [await freePort(), await freePort()];
  const at = host.namespace === undefined ? LOOPBACK : ["0.0.0.0"];
  const listen = (on: number) => at.map((one) => `listen ${one}:${on} ssl backlog=4096 reuseport;`).join(" ");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const server = `server_name localhost; root ${WORKSHOP};
        ssl_certificate ${leaf.certificate}; ssl_certificate_key ${leaf.key}; ssl_protocols TLSv1.2 TLSv1.3;
        location ${UPLOAD} { return 200; }
        location /seen { return 200 "$ssl_protocol, $ssl_curve, resumed: $ssl_session_reused"; }`;
  writeFileSync(join(WORKSHOP, "small"), "x".repeat(1000));
  makeBigBody();
  const configuration = join(WORKSHOP, `nginx-${port}.conf`);
  writeFileSync(
    configuration,
    `daemon off; worker_processes 2; worker_rlimit_nofile 65536; pid ${WORKSHOP}/nginx-${port}.pid;
    ${process.getuid?.() === 0 ? "user root;" : ""}
    error_log stderr error;
    events { worker_connections 32768; }
    http {
      access_log off; default_type application/octet-stream; keepalive_timeout 600s; keepalive_requests 1000000;
      output_buffers 4 256k; client_max_body_size 0; lingering_timeout 60s; lingering_time 60s;
      ${temporary.map((kind) => `${kind}_temp_path ${WORKSHOP}/nginx-${kind};`).join(" ")}
      server {
        ${listen(port)} ${server}
        ssl_session_cache off; ssl_session_tickets off;
      }
      server {
        ${listen(resumingPort)} ${server}
        ssl_session_cache shared:bench:10m; ssl_session_tickets on;
      }
    }\n`,
  );
  const program = start(`nginx ${port}`, "nginx", ["-p", WORKSHOP, "-c", configuration, "-e", "stderr"], host);
  await listening(program, port);
  return { program, port, resumingPort, authority, certificate: leaf.certificate };
}

/** Makes a sparse file and reads it once, so that it is in memory before the first measure. */
function makeBigBody(): void {
  const file = openSync(join(WORKSHOP, "big"), "w+");
  ftruncateSync(file, BIG_SIZE);
  const piece = Buffer.alloc(2 ** 20);
  for (let at = 0; at < BIG_SIZE; at += piece.length) readSync(file, piece, 0, piece.length, at);
  closeSync(file);
}

function makeAuthority(): Authority {
  const [certificate, key] = [join(WORKSHOP, "authority.pem"), join(WORKSHOP, "authority.key")];
  openssl(
    "req",
    "-x509",
    ...NEW_KEY,
    "-keyout",
    key,
    "-out",
    certificate,
    "-days",
    "30",
    "-subj",
    "/CN=Bench authority",
    "-addext",
    "basicConstraints=critical,CA:TRUE",
    "-addext",
    "keyUsage=critical,keyCertSign,cRLSign",
  );
  return { certificate, key };
}

/** Makes a P-256 certificate for localhost and these addresses. */
export function makeLeaf(authority: Authority, addresses: readonly string[]): Authority {
  const [certificate, key] = [join(WORKSHOP, "localhost.pem"), join(WORKSHOP, "localhost.key")];
  openssl(
    "req",
    "-x509",
    ...NEW_KEY,
    "-keyout",
    key,
    "-out",
    certificate,
    "-days",
    "20",
    "-subj",
    "/CN=localhost",
    "-CA",
    authority.certificate,
    "-CAkey",
    authority.key,
    "-addext",
    "basicConstraints=critical,CA:FALSE",
    "-addext",
    `subjectAltName=${["DNS:localhost", ...addresses.map((address) => `IP:${address}`)].join(",")}`,
    "-addext",
    "extendedKeyUsage=serverAuth",
  );
  return { certificate, key };
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
