import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startClearline } from "./clearline.ts";
import { HERE } from "./hosts.ts";
import type { InlineSubject } from "./inline.ts";
import type { Subject } from "./loads.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, type Program, start, WORKSHOP } from "./processes.ts";
import { startWithProxyTool } from "./proxy-tool.ts";

/** A program in front of the origin on loopback: a port whose connections all go to the origin, or a proxy. */
interface Kind {
  /** The file that shows that its program is there, and the Debian package that brings it. */
  readonly needs?: { readonly file: string; readonly package: string };
  /** It takes CONNECT, "TLS": inside of TLS. */
  readonly isProxy?: true | "TLS";
  /** The origin gives it tickets. */
  readonly resumes?: true;
  readonly start: (origin: Origin, port: number, target: number) => Promise<Program> | Program;
}

const SQUID_ISSUER = "/usr/lib/squid/security_file_certgen";
const NGINX_STREAM = { file: "/usr/lib/nginx/modules/ngx_stream_module.so", package: "libnginx-mod-stream" };

const KINDS = {
  clearline: { start: forward() },
  "clearline resumed": { resumes: true, start: forward({ resumption: { servers: true } }) },
  "clearline bypass": { start: forward({ policy: { default: "bypass" } }) },
  "clearline pcapng": {
    start(origin, port, target) {
      const feed = { name: "bench", kind: "pcapng", directory: join(WORKSHOP, `captures-${port}`) };
      return forward({ feeds: [feed] })(origin, port, target);
    },
  },
  "clearline http view": { start: forward({ feeds: [{ name: "bench", kind: "http" }] }) },
  "clearline pcap-over-ip": { start: startWithReader },
  "clearline haproxy": { needs: { file: "/usr/sbin/haproxy", package: "haproxy" }, start: startWithProxyTool },
  "clearline TLS in TLS": { isProxy: "TLS", start: startBeforeTlsProxy },
  sslsplit: { needs: { file: "/usr/bin/sslsplit", package: "sslsplit" }, start: startSslsplit },
  "nginx stream": { needs: NGINX_STREAM, start: nginxStream("proxy_ssl_session_reuse off;") },
  "nginx stream resumed": { needs: NGINX_STREAM, resumes: true, start: nginxStream("proxy_ssl_session_reuse on;") },
  "nginx stream no TLS": { needs: NGINX_STREAM, start: nginxStream(undefined) },
  mitmproxy: { needs: { file: "/usr/bin/mitmdump", package: "mitmproxy" }, isProxy: true, start: startMitmproxy },
  squid: { needs: { file: SQUID_ISSUER, package: "squid-openssl" }, isProxy: true, start: startSquid },
} as const satisfies Record<string, Kind>;

type LoopbackSubject = keyof typeof KINDS;
export type SubjectName = "direct" | LoopbackSubject | InlineSubject;

/** The Debian package that this subject needs and that is missing; undefined: none. */
export function missing(name: SubjectName): string | undefined {
  const { needs } = name in KINDS ? (KINDS[name as LoopbackSubject] as Kind) : {};
  return needs && !existsSync(needs.file) ? needs.package : undefined;
}

/** The subject resumes its sessions with the origin. */
export function resumes(name: SubjectName): boolean {
  return name in KINDS && (KINDS[name as LoopbackSubject] as Kind).resumes === true;
}

/** Starts a subject in front of the origin, and resolves once it accepts clients. */
export async function startSubject(name: SubjectName, origin: Origin): Promise<Subject> {
  const target = { name: HERE.address, address: HERE.address, port: origin.port };
  if (name === "direct") return { name, way: { from: HERE, target }, program: origin.program };
  const kind: Kind = KINDS[name as LoopbackSubject];
  const port = await freePort();
  const program = await kind.start(origin, port, kind.resumes ? origin.resumingPort : origin.port);
  await listening(program, port);
  const proxy = { address: HERE.address, port, ...(kind.isProxy === "TLS" && { tls: true as const }) };
  const way = kind.isProxy ? { target, proxy } : { target: { ...target, port } };
  return { name, way: { from: HERE, ...way }, program };
}

/** A node whose listener sends all connections to the origin. */
function forward(more: Readonly<Record<string, unknown>> = {}): Kind["start"] {
  return (origin, port, target) =>
    startClearline(origin, { mode: "forward", address: `127.0.0.1:${port}`, server: `127.0.0.1:${target}` }, more);
}

async function startWithReader(origin: Origin, port: number, target: number): Promise<Program> {
  const place = await freePort();
  const feed = { name: "bench", kind: "pcap-over-ip", address: `127.0.0.1:${place}` };
  const program = await forward({ feeds: [feed] })(origin, port, target);
  await listening(program, place);
  // The reader ends with the feed. Its CPU time does not count.
  const script = `require("node:net").connect(${place}, "127.0.0.1").on("error", () => {}).resume()`;
  start(`reader ${place}`, process.execPath, ["-e", script]);
  return program;
}

/** A node in front of a proxy with TLS, whose CPU time does not count: it decrypts the TLS that leads to the proxy, and the TLS in it. */
async function startBeforeTlsProxy(origin: Origin, port: number): Promise<Program> {
  const place = await freePort();
  const program = fileURLToPath(new URL("tls-proxy.ts", import.meta.url));
  const key = join(WORKSHOP, "localhost.key");
  const proxy = start(`tls-proxy ${place}`, process.execPath, [program, `${place}`, origin.certificate, key]);
  await listening(proxy, place);
  return forward({ policy: { startTls: { enabled: true } } })(origin, port, place);
}

function startSslsplit({ authority }: Origin, port: number, target: number): Program {
  const leaf = join(WORKSHOP, "localhost.key"); // the key of its leaf certificates: P-256, as for all subjects
  const user = process.getuid?.() === 0 ? ["-u", "root"] : [];
  const keys = ["-k", authority.key, "-c", authority.certificate, "-K", leaf];
  const spec = ["ssl", "127.0.0.1", `${port}`, "127.0.0.1", `${target}`];
  return start(`sslsplit ${port}`, "sslsplit", [...user, ...keys, "-P", ...spec]);
}

/** nginx that ends TLS and opens its own to the origin, whose certificate it verifies; without TLS it only carries bytes. */
function nginxStream(tls: string | undefined): Kind["start"] {
  return ({ authority, certificate }, port, target) => {
    const key = join(WORKSHOP, "localhost.key");
    const serving = `ssl_certificate ${certificate}; ssl_certificate_key ${key};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;`;
    const proxying = `proxy_ssl on; proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_verify on;
        proxy_ssl_trusted_certificate ${authority.certificate}; proxy_ssl_protocols TLSv1.2 TLSv1.3;`;
    const file = join(WORKSHOP, `stream-${port}.conf`);
    writeFileSync(
      file,
      `load_module ${NGINX_STREAM.file};
    daemon off; worker_processes auto; worker_rlimit_nofile 65536; pid ${WORKSHOP}/stream-${port}.pid;
    ${process.getuid?.() === 0 ? "user root;" : ""}
    error_log stderr error;
    events { worker_connections 32768; }
    stream {
      ${tls === undefined ? "" : serving}
      server {
        listen 127.0.0.1:${port} ${tls === undefined ? "" : "ssl "}backlog=4096 reuseport; proxy_pass 127.0.0.1:${target};
        ${tls === undefined ? "" : `${proxying} ${tls}`}
      }
    }\n`,
    );
    return start(`nginx stream ${port}`, "nginx", ["-p", WORKSHOP, "-c", file, "-e", "stderr"]);
  };
}

function startMitmproxy({ authority }: Origin, port: number): Program {
  const directory = join(WORKSHOP, `mitmproxy-${port}`);
  mkdirSync(directory);
  writeFileSync(
    join(directory, "mitmproxy-ca.pem"),
    Buffer.concat([readFileSync(authority.key), readFileSync(authority.certificate)]),
  );
  // By default it keeps whole bodies in memory; all other subjects stream them.
  const settings = ["ssl_insecure=true", `confdir=${directory}`, "stream_large_bodies=64k", "flow_detail=0"];
  const where = ["-q", "--listen-host", "127.0.0.1", "-p", `${port}`];
  return start(`mitmproxy ${port}`, "mitmdump", [...where, ...settings.flatMap((setting) => ["--set", setting])]);
}

/** Squid that decrypts everything, caches nothing and keeps its issued certificates. It runs as its own user, not as root. */
function startSquid({ authority }: Origin, port: number): Program {
  const directory = join(WORKSHOP, `squid-${port}`);
  mkdirSync(directory);
  const issued = join(directory, "issued");
  execFileSync(SQUID_ISSUER, ["-c", "-s", issued, "-M", "4MB"], { stdio: "ignore" });
  const file = join(directory, "squid.conf");
  writeFileSync(
    file,
    `http_port 127.0.0.1:${port} ssl-bump generate-host-certificates=on tls-cert=${authority.certificate} tls-key=${authority.key} options=NO_SSLv3
sslcrtd_program ${SQUID_ISSUER} -s ${issued} -M 4MB
sslcrtd_children 2
ssl_bump bump all
sslproxy_cert_error allow all
http_access allow all
cache deny all
server_persistent_connections off
access_log none
cache_log ${directory}/cache.log
pid_filename ${directory}/squid.pid
coredump_dir ${directory}
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 65536
`,
  );
  if (process.getuid?.() === 0) spawnSync("chown", ["-R", "proxy:proxy", directory]);
  return start(`squid ${port}`, "squid", ["-N", "-f", file]);
}
