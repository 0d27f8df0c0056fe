/** Real TLS servers, each a program of Debian's packages, on a free port of 127.0.0.1. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "./needs.ts";
import type { Identity } from "./pki.ts";
import { accepts, freePort, must, type Program, scratch, start } from "./processes.ts";

export interface Origin {
  readonly port: number;
  /** The server's program, with what it wrote about connections. */
  readonly process: Program;
}

export const OPENSSL_VERSIONS = {
  TLSv1: "-tls1",
  "TLSv1.1": "-tls1_1",
  "TLSv1.2": "-tls1_2",
  "TLSv1.3": "-tls1_3",
} as const;
export type TlsVersion = keyof typeof OPENSSL_VERSIONS;

/** TLS 1.0 and 1.1 need SHA-1 signatures, which OpenSSL 3 allows at security level 0 only. */
export const OPENSSL_ANY = ["-cipher", "DEFAULT@SECLEVEL=0"] as const;

/**
 * `openssl s_server`, one connection at a time. With "-www" (the default) it answers GET / with what was negotiated;
 * with "-rev" it sends each line back reversed.
 */
export async function opensslServer(
  identity: Identity,
  options: { version?: TlsVersion; mode?: "-www" | "-rev" | undefined; more?: readonly string[] } = {},
): Promise<Origin> {
  const port = await freePort();
  const args = ["s_server", "-accept", `127.0.0.1:${port}`, "-cert", identity.certificate, "-key", identity.key];
  const version = options.version === undefined ? [] : [OPENSSL_VERSIONS[options.version]];
  const mode = options.mode ?? "-www";
  const process = start(program("openssl"), [...args, ...version, ...OPENSSL_ANY, mode, ...(options.more ?? [])]);
  await process.shows(/^ACCEPT/m);
  return { port, process };
}

export interface Nginx extends Origin {
  /** What GET /files/… reads and PUT /files/… writes. */
  readonly files: string;
}

/** nginx with HTTP/1.1 and HTTP/2. `locations` adds to its server block. */
export async function nginx(identity: Identity, locations = ""): Promise<Nginx> {
  const port = await freePort();
  const folder = scratch();
  const files = join(folder, "files");
  mkdirSync(files);
  mkdirSync(join(folder, "logs"));
  writeFileSync(
    join(folder, "nginx.conf"),
    `daemon off;
pid ${folder}/nginx.pid;
error_log stderr warn;
${process.getuid?.() === 0 ? "user root;" : ""}
worker_processes 1;
events { worker_connections 512; }
http {
  access_log off;
  types { text/html html; text/javascript js; text/css css; image/svg+xml svg; }
  default_type application/octet-stream;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} ssl http2;
    ssl_certificate ${identity.certificate};
    ssl_certificate_key ${identity.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size 0;
    location / { root ${files}; }
    location /files/ { alias ${files}/; dav_methods PUT; }
    location = /negotiated { return 200 "$ssl_protocol $ssl_cipher $server_protocol $ssl_server_name\\n"; }
    ${locations}
  }
}
`,
  );
  const running = start(program("nginx-light"), ["-p", folder, "-c", "nginx.conf", "-e", "stderr"]);
  await Promise.race([accepts(port), running.ended.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
  return { port, process: running, files };
}

/** `gnutls-serv`: answers GET / with a page about the session; with "echo", sends back what it gets. */
export async function gnutlsServer(identity: Identity, mode: "--http" | "--echo" = "--http"): Promise<Origin> {
  const port = await freePort();
  const files = ["--x509certfile", identity.certificate, "--x509keyfile", identity.key];
  const more = ["--priority", "NORMAL:+VERS-TLS1.0:+VERS-TLS1.1", "--disable-client-cert"];
  const process = start("/usr/bin/gnutls-serv", ["--port", String(port), mode, ...files, ...more]);
  await accepts(port);
  return { port, process };
}

/** Python's ssl: answers every GET with the version and suite that it negotiated. */
export function pythonServer(identity: Identity): Promise<Origin> {
  return scripted((port) =>
    start(program("python3"), [source("peer.py"), "serve", String(port), identity.certificate, identity.key]),
  );
}

/** Go's crypto/tls. */
export async function goServer(binary: string, identity: Identity): Promise<Origin> {
  return scripted((port) => start(binary, ["serve", String(port), identity.certificate, identity.key]));
}

/** Builds the Go peer, once for the tests of a file. It uses only the standard library, so nothing is fetched. */
export async function buildGoPeer(): Promise<string> {
  const folder = scratch();
  const binary = join(folder, "peer");
  const home = process.env["HOME"] ?? folder;
  const env = {
    ...process.env,
    HOME: home,
    GOTOOLCHAIN: "local",
    GOFLAGS: "-mod=mod",
    GO111MODULE: "off",
    GOPROXY: "off",
  };
  await must(program("golang-go"), ["build", "-o", binary, source("peer.go")], { env, within: 180_000 });
  return binary;
}

/** OpenJDK's JSSE: one program with a server for each identity, by name. */
export async function javaServers<Name extends string>(
  classes: string,
  identities: Readonly<Record<Name, Identity>>,
): Promise<Readonly<Record<Name, Origin>>> {
  return jsseServers(classes, "Peer", identities, (identity) => ({ identity, words: [] }));
}

export interface Ssl3Server {
  readonly identity: Identity;
  /** SSL 3.0 alone, unless it says otherwise. */
  readonly versions?: readonly string[];
  /** Whether it asks for a client certificate, or is a proxy. */
  readonly as?: "none" | "want" | "need" | "tunnel";
}

/** The same with all that JDK 17 has switched off, SSL 3.0 above all. */
export async function ssl3Servers<Name extends string>(
  classes: string,
  servers: Readonly<Record<Name, Ssl3Server>>,
): Promise<Readonly<Record<Name, Origin>>> {
  return jsseServers(classes, "Ssl3Peer", servers, ({ identity, versions = ["SSLv3"], as = "none" }) => ({
    identity,
    words: [versions.join("+"), as],
  }));
}

/** Starts all servers in one program: each Origin has the same process. */
async function jsseServers<Name extends string, Server>(
  classes: string,
  peer: string,
  servers: Readonly<Record<Name, Server>>,
  describe: (server: Server) => { readonly identity: Identity; readonly words: readonly string[] },
): Promise<Readonly<Record<Name, Origin>>> {
  const ports: (readonly [Name, number])[] = [];
  const args: string[] = [];
  for (const name of Object.keys(servers) as Name[]) {
    const { identity, words } = describe(servers[name]);
    const port = await freePort();
    ports.push([name, port]);
    args.push([port, await pkcs12(identity), ...words].join(","));
  }
  const process = startJava(classes, peer, "serve", ...args);
  await process.shows(/^READY$/m);
  return Object.fromEntries(ports.map(([name, port]) => [name, { port, process }])) as Record<Name, Origin>;
}

export interface JavaClient {
  /** Connects as the cases say, one after the other. Resolves with the lines that the peer prints about them. */
  get(roots: string, cases: readonly string[]): Promise<string[]>;
  readonly process: Program;
}

/** A client over JSSE that stays: the second request finds its code loaded and compiled. */
export function javaClient(classes: string, peer: "Peer" | "Ssl3Peer"): JavaClient {
  const process = startJava(classes, peer, "get");
  let requests = 0;
  return {
    process,
    async get(roots, cases) {
      const id = ++requests;
      process.write(`${[id, roots, ...cases].join(" ")}\n`);
      const [, lines = ""] = await process.shows(new RegExp(`^BEGIN ${id}\n(.*)^END ${id}$`, "ms"), 120_000);
      return lines.trim().split("\n");
    },
  };
}

/** The default collector is made for large heaps: it starts a thread for each core. */
function startJava(classes: string, ...args: readonly string[]): Program {
  return start(java(), ["-XX:+UseSerialGC", "-cp", classes, ...args]);
}

/** Writes key and certificate to one file, which Java needs. */
async function pkcs12({ certificate, key }: Identity): Promise<string> {
  const store = join(scratch(), "server.p12");
  const pair = ["-in", certificate, "-inkey", key];
  await must(program("openssl"), ["pkcs12", "-export", ...pair, "-out", store, "-passout", "pass:changeit"]);
  return store;
}

/** Compiles a Java peer, once for the tests of a file. Resolves with its class path. */
export async function buildJavaPeer(name = "Peer.java"): Promise<string> {
  const folder = scratch();
  const args = ["-d", folder, "-sourcepath", source(""), source(name)];
  await must(program("openjdk-17-jdk-headless"), args, { within: 120_000 });
  return folder;
}

export function java(): string {
  return program("openjdk-17-jdk-headless").replace(/javac$/, "java");
}

export function source(name: string): string {
  return new URL(`programs/${name}`, import.meta.url).pathname;
}

async function scripted(launch: (port: number) => Program): Promise<Origin> {
  const port = await freePort();
  const process = launch(port);
  await process.shows(/^READY$/m);
  return { port, process };
}

/** Redis, which nodes share, without files. The caller chooses the port, to start it there again. */
export async function redisServer(port: number): Promise<Origin> {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", scratch()];
  const process = start(program("redis-server"), args);
  await process.shows(/Ready to accept connections/);
  return { port, process };
}
