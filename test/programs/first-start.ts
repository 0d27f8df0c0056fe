/**
 * The first steps of a new user: `npm start`, a client through the node, the session, the plaintext. Runs as root in its own
 * network and mount namespaces, so that the default ports are free and the system trusts the tests' root. The node runs as
 * nobody. Arguments: the folder of the test PKI, and its root certificate.
 */
import assert from "node:assert/strict";
import { chmodSync, chownSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Session, SessionList } from "../../src/control/api.ts";
import { program } from "../needs.ts";
import { descendants } from "../node.ts";
import { nginx } from "../peers.ts";
import { must, type Program, scratch, start, until } from "../processes.ts";

const NOBODY = 65534;
const SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt";
/** Where the checkout is mounted too: the user nobody may not be able to read its own folder, for example below /root. */
const PROJECT = "/mnt";
const HEALTH = "http://127.0.0.1:8484/api/v1/health";

const [, , certificate, key, root] = process.argv as [string, string, string, string, string];
const roots = join(scratch(), "roots.pem");
writeFileSync(roots, readFileSync(SYSTEM_ROOTS, "utf8") + readFileSync(root, "utf8"));
await must("/bin/mount", ["--bind", roots, SYSTEM_ROOTS]);
await must("/bin/mount", ["--bind", new URL("../..", import.meta.url).pathname, PROJECT]);
await must(program("iproute2"), ["link", "set", "lo", "up"]);

const origin = await nginx({ certificate, key });
writeFileSync(join(origin.files, "secret"), "the plaintext that the client asked for\n");
const home = scratch();
chownSync(home, NOBODY, NOBODY);
chmodSync(home, 0o700);
const env = { PATH: process.env["PATH"], HOME: home, NO_COLOR: "1", npm_config_update_notifier: "false" };
const asNobody = ["--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups"];
const npm = (...args: string[]) => must("/usr/bin/setpriv", [...asNobody, "npm", ...args], { cwd: PROJECT, env });

const isHealthy = () =>
  fetch(HEALTH).then(
    (answer) => answer.ok,
    () => false,
  );
async function startNode(...options: string[]): Promise<Program> {
  const started = start("/usr/bin/setpriv", [...asNobody, "npm", "start", ...options], { cwd: PROJECT, env });
  await Promise.race([
    until("the node's health", isHealthy, 60_000),
    started.ended.then(() => Promise.reject(new Error(`npm start ended:\n${started.output()}`))),
  ]);
  return started;
}
const node = await startNode();

const ca = join(home, "ca.pem");
writeFileSync(ca, await npm("run", "-s", "clearline", "--", "ca", "export"));
const url = `https://localhost:${origin.port}/secret`;
const proxied = ["-q", "-sS", "--noproxy", "", "-x", "http://127.0.0.1:8080", "--cacert", ca];
assert.equal(await must(program("curl"), [...proxied, url]), "the plaintext that the client asked for\n");

const session = await until("the session", async () => {
  const answer = JSON.parse(await npm("run", "-s", "clearline", "--", "sessions", "--host", "localhost", "--json"));
  const list = ("sessions" in answer ? (answer as SessionList).sessions : answer) as readonly Session[];
  return list.find(({ end }) => end !== null);
});
assert.deepEqual([session.verdict, session.sni, session.presented?.authority], ["decrypt", "localhost", "primary"]);

const [capture] = globSync(join(home, ".local/state/clearline/captures/*.pcapng")).filter((file) =>
  readFileSync(file).includes("the plaintext that the client asked for"),
);
assert.ok(capture !== undefined, "no capture holds the plaintext");
assert.ok(Object.values(session.feeds).includes(capture), JSON.stringify(session.feeds));

// A development server, with a certificate that names another host.
const own = join(scratch(), "own");
const subject = ["-subj", "/CN=dev.example", "-addext", "subjectAltName=DNS:dev.example"];
const pair = [
  "-newkey",
  "ec",
  "-pkeyopt",
  "ec_paramgen_curve:P-256",
  "-nodes",
  "-keyout",
  `${own}.key`,
  "-out",
  `${own}.pem`,
];
await must(program("openssl"), ["req", "-x509", ...pair, ...subject]);
const dev = await nginx({ certificate: `${own}.pem`, key: `${own}.key` });
writeFileSync(join(dev.files, "index.html"), "the development server");
const devUrl = `https://localhost:${dev.port}/`;
const refusal = await must(program("curl"), [...proxied, "-H", "Accept: text/html", devUrl]);
assert.match(refusal, /selfSigned.*npm start -- --insecure localhost/s);

const family = descendants(node.pid);
assert.ok(family.length >= 3, `npm start began ${family.length} processes`);
const { code } = await node.stop();
await until("an end to all its processes", () => family.every((pid) => !descendants(process.pid).includes(pid)));
assert.equal(await isHealthy(), false);

const again = await startNode("--", "--listen", "8081", "--insecure", "localhost", "--no-capture");
const through = ["-q", "-sS", "-k", "--noproxy", "", "-x", "http://127.0.0.1:8081"];
assert.equal(await must(program("curl"), [...through, devUrl]), "the development server");
assert.match(again.output(), /explicit +127\.0\.0\.1:8081/);
assert.doesNotMatch(again.output(), /^ +feed .*pcapng/m);
await again.stop();
await origin.process.stop();
await dev.process.stop();
console.log(`npm start ended with ${code}`);
