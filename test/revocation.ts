/** A CA that revokes, by Debian's openssl: its index, its responder, its lists, and answers to staple. */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { program } from "./needs.ts";
import type { Origin } from "./peers.ts";
import { DOMAIN, type Identity, makeAuthority, type Pki } from "./pki.ts";
import { must, scratch, start } from "./processes.ts";

export interface RevokingCa {
  readonly root: Identity;
  /** One more certificate, with these lines of an extension section: "authorityInfoAccess=OCSP;URI:http://…" */
  issue(name: string, ...extensions: readonly string[]): Promise<Identity>;
  revoke(identity: Identity, reason: string): Promise<void>;
  /** A file with a list of all that were revoked so far. */
  list(): Promise<string>;
  /** A file with the responder's answer about this certificate. */
  answer(identity: Identity, ...options: readonly string[]): Promise<string>;
  /** `openssl ocsp`, which knows what was revoked before it started. */
  responder(port: number): Promise<Origin>;
}

export async function revokingCa(pki: Pki, name: string): Promise<RevokingCa> {
  const root = await makeAuthority(pki, name);
  const folder = scratch();
  const file = (what: string) => join(folder, what);
  const openssl = (...args: readonly string[]) => must(program("openssl"), args, { cwd: folder });
  writeFileSync(file("index.txt"), "");
  writeFileSync(file("number"), "01\n");
  const configure = (what: string, extensions: readonly string[]) => {
    const text = `[ca]
default_ca=this
[this]
database=${file("index.txt")}
new_certs_dir=${folder}
rand_serial=yes
crlnumber=${file("number")}
default_md=sha256
default_days=300
default_crl_days=1
policy=any
unique_subject=no
[any]
commonName=supplied
[req]
distinguished_name=dn
[dn]
[leaf]
basicConstraints=critical,CA:FALSE
${extensions.join("\n")}
`;
    writeFileSync(file(`${what}.cnf`), text);
    return file(`${what}.cnf`);
  };
  const authority = ["-cert", root.certificate, "-keyfile", root.key];
  const issue = async (what: string, ...extensions: readonly string[]): Promise<Identity> => {
    const config = configure(what, extensions);
    const identity = { certificate: file(`${what}.pem`), key: file(`${what}.key`) };
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", identity.key];
    const request = [...key, "-subj", `/CN=${what}.${DOMAIN}`, "-out", file(`${what}.csr`)];
    await openssl("req", "-new", "-config", config, ...request);
    const wanted = [
      "-in",
      file(`${what}.csr`),
      "-out",
      identity.certificate,
      "-extensions",
      "leaf",
      "-notext",
      "-batch",
    ];
    await openssl("ca", "-config", config, ...authority, ...wanted);
    return identity;
  };
  const delegate = await issue("responder", "extendedKeyUsage=OCSPSigning", "noCheck=ignored");
  const config = configure("ca", []);
  const answering = [
    "-index",
    file("index.txt"),
    "-CA",
    root.certificate,
    "-rsigner",
    delegate.certificate,
    "-rkey",
    delegate.key,
  ];
  let lists = 0;
  return {
    root,
    issue: (what, ...extensions) =>
      issue(what, `subjectAltName=DNS:*.${DOMAIN},IP:127.0.0.1`, "extendedKeyUsage=serverAuth", ...extensions),
    async revoke(identity, reason) {
      await openssl("ca", "-config", config, ...authority, "-revoke", identity.certificate, "-crl_reason", reason);
    },
    async list() {
      lists += 1;
      const [pem, der] = [file(`list-${lists}.pem`), file(`list-${lists}.crl`)];
      await openssl("ca", "-config", config, ...authority, "-gencrl", "-out", pem);
      await openssl("crl", "-in", pem, "-outform", "DER", "-out", der);
      return der;
    },
    async answer(identity, ...options) {
      const [request, response] = [`${identity.certificate}.req`, `${identity.certificate}.resp`];
      const about = ["-issuer", root.certificate, "-cert", identity.certificate, "-no_nonce"];
      await openssl("ocsp", ...about, "-reqout", request);
      await openssl("ocsp", ...answering, "-reqin", request, "-respout", response, ...options);
      return response;
    },
    async responder(port) {
      const process = start(program("openssl"), ["ocsp", "-port", String(port), ...answering, "-ignore_err"]);
      // It is not tried: a connection without a request keeps it busy.
      await process.shows(/waiting for OCSP client connections/);
      return { port, process };
    },
  };
}

/** An address that stands before another one: counts who comes, and lets them through once it is open. */
export interface Gate extends AsyncDisposable {
  readonly port: number;
  readonly visitors: number;
  open(): void;
}

export async function gate(target: number): Promise<Gate> {
  const opened = Promise.withResolvers<void>();
  const sockets = new Set<net.Socket>();
  let visitors = 0;
  const server = net.createServer(async (client) => {
    visitors += 1;
    sockets.add(client.on("error", () => {}));
    await opened.promise;
    const onward = net.connect(target, "127.0.0.1").on("error", () => client.destroy());
    sockets.add(onward);
    client.pipe(onward).pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    get visitors() {
      return visitors;
    },
    open: () => opened.resolve(),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A plain web server of files that may change: what each path gives is asked for each time. */
export async function webServer(files: Readonly<Record<string, () => string>>) {
  const server = http.createServer(({ url = "" }, answer) => {
    const file = files[url];
    answer.writeHead(file ? 200 : 404, { connection: "close" });
    answer.end(file && readFileSync(file()));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as net.AddressInfo).port, close: () => server.close() };
}
