import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { program } from "./needs.ts";
import type { Origin } from "./peers.ts";
import { DOMAIN, type Identity, makeAuthority, type Pki } from "./pki.ts";
import { must, scratch, start } from "./processes.ts";

/** A CA with OpenSSL's index of revoked certificates, in a folder that is removed with this process. */
export class RevokingCa {
  readonly root: Identity;
  readonly #folder = scratch();
  /** The arguments of "openssl ca" that name the CA. */
  readonly #authority: readonly string[];
  /** The arguments of "openssl ocsp" that name the index and the responder's certificate. */
  #answering: readonly string[] = [];
  #lists = 0;

  static async create(pki: Pki, name: string): Promise<RevokingCa> {
    const ca = new RevokingCa(await makeAuthority(pki, name));
    await ca.#makeResponder();
    return ca;
  }

  private constructor(root: Identity) {
    this.root = root;
    this.#authority = ["-cert", root.certificate, "-keyfile", root.key];
    writeFileSync(this.#file("index.txt"), "");
    writeFileSync(this.#file("number"), "01\n");
  }

  async #makeResponder(): Promise<void> {
    const { certificate, key } = await this.#issue("responder", ["extendedKeyUsage=OCSPSigning", "noCheck=ignored"]);
    const index = ["-index", this.#file("index.txt"), "-CA", this.root.certificate];
    this.#answering = [...index, "-rsigner", certificate, "-rkey", key];
  }

  /** Issues a server's certificate. `extensions`: lines of OpenSSL's configuration, "authorityInfoAccess=OCSP;URI:http://…". */
  issue(name: string, ...extensions: readonly string[]): Promise<Identity> {
    const names = `subjectAltName=DNS:*.${DOMAIN},IP:127.0.0.1`;
    return this.#issue(name, [names, "extendedKeyUsage=serverAuth", ...extensions]);
  }

  async revoke({ certificate }: Identity, reason: string): Promise<void> {
    await this.#ca(this.#configure("ca", []), "-revoke", certificate, "-crl_reason", reason);
  }

  /** A file with a list of the certificates that are revoked now. */
  async list(): Promise<string> {
    this.#lists += 1;
    const [pem, der] = [this.#file(`list-${this.#lists}.pem`), this.#file(`list-${this.#lists}.crl`)];
    await this.#ca(this.#configure("ca", []), "-gencrl", "-out", pem);
    await this.#openssl("crl", "-in", pem, "-outform", "DER", "-out", der);
    return der;
  }

  /** A file with an OCSP response about this certificate. */
  async answer({ certificate }: Identity, ...options: readonly string[]): Promise<string> {
    const [request, response] = [`${certificate}.req`, `${certificate}.resp`];
    const about = ["-issuer", this.root.certificate, "-cert", certificate, "-no_nonce"];
    await this.#openssl("ocsp", ...about, "-reqout", request);
    await this.#openssl("ocsp", ...this.#answering, "-reqin", request, "-respout", response, ...options);
    return response;
  }

  /** Starts "openssl ocsp", which reads the index once, at its start. */
  async responder(port: number): Promise<Origin> {
    const args = ["ocsp", "-port", String(port), ...this.#answering, "-ignore_err"];
    const process = start(program("openssl"), args);
    // Its output shows that it listens. A connection without a request would block it.
    await process.shows(/waiting for OCSP client connections/);
    return { port, process };
  }

  async #issue(name: string, extensions: readonly string[]): Promise<Identity> {
    const config = this.#configure(name, extensions);
    const identity = { certificate: this.#file(`${name}.pem`), key: this.#file(`${name}.key`) };
    const request = this.#file(`${name}.csr`);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", identity.key];
    await this.#openssl("req", "-new", "-config", config, ...key, "-subj", `/CN=${name}.${DOMAIN}`, "-out", request);
    await this.#ca(config, "-in", request, "-out", identity.certificate, "-extensions", "leaf", "-notext", "-batch");
    return identity;
  }

  #configure(name: string, extensions: readonly string[]): string {
    const config = this.#file(`${name}.cnf`);
    writeFileSync(
      config,
      `[ca]
default_ca=this
[this]
database=${this.#file("index.txt")}
new_certs_dir=${this.#folder}
rand_serial=yes
crlnumber=${this.#file("number")}
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
`,
    );
    return config;
  }

  #ca(config: string, ...args: readonly string[]): Promise<string> {
    return this.#openssl("ca", "-config", config, ...this.#authority, ...args);
  }

  #openssl(...args: readonly string[]): Promise<string> {
    return must(program("openssl"), args, { cwd: this.#folder });
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }
}

/** A TCP proxy in front of another address. It counts connections and holds them until it is opened. */
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

/** A web server: each path has a function that names the file to answer with. */
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
