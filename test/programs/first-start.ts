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
import { must, scratch, start, until } from "../processes.ts";

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

const node = start("/usr/bin/setpriv", [...asNobody, "npm", "start"], { cwd: PROJECT, env });
const isHealthy = () =>
  fetch(HEALTH).then(
    (answer) => answer.ok,
    () => false,
  );
await Promise.race([
  until("the node's health", isHealthy, 60_000),
  node.ended.then(() => Promise.reject(new Error(`npm start ended:\n${node.output()}`))),
]);

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

const family = descendants(node.pid);
assert.ok(family.length >= 3, `npm start began ${family.length} processes`);
const { code } = await node.stop();
await until("an end to all its processes", () => family.every((pid) => !descendants(process.pid).includes(pid)));
assert.equal(await isHealthy(), false);
await origin.process.stop();
console.log(`npm start ended with ${code}`);
