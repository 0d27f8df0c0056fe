import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { removeNodeFile, writeNodeFile } from "../config/data-folder.ts";
import { startControl } from "../control/server.ts";
import { createTestOperations, QUIET, testSession } from "../control/test-operations.ts";

/** As `clearline` is started where it is installed. */
const MAIN = join(import.meta.dirname, "../../bin/main.mjs");
const folder = mkdtempSync(join(tmpdir(), "clearline-cli-"));
const operations = createTestOperations();
const tokenFile = join(folder, "data", "token");
const control = await startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log: QUIET });
const config = writeConfig("clearline.yaml", control.address.port);
const server = { address: "198.51.100.5", port: 443 };
operations.apply(
  testSession("s1", Date.now(), { sni: "www.example.com", server, verdict: "decrypt", phase: "sni", rule: "default" }),
  testSession("s2", Date.now() - 1000, { sni: "bank.example", server, verdict: "bypass", phase: "sni", rule: "banks" }),
  {
    ...{ id: "s2", end: Date.now(), closeReason: "The client closed the connection" },
    ...({ outcome: "clientRefusedCertificate", cause: "unknown_ca", blame: "client" } as const),
  },
);

after(async () => {
  await control.close();
  await operations.history.close();
  rmSync(folder, { recursive: true });
});

function writeConfig(name: string, port: number, more = ""): string {
  const file = join(folder, name);
  const listener = '[{ name: proxy, mode: explicit, address: "127.0.0.1:8080" }]';
  writeFileSync(file, `dataDir: ./data\nconsole: { address: "127.0.0.1:${port}" }\nlisteners: ${listener}\n${more}`);
  return file;
}

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the command to its end; `onOutput` may end it with a signal. */
function clearline(args: readonly string[], options: { env?: object; onOutput?: (out: string) => boolean } = {}) {
  return new Promise<Ended>((resolve) => {
    const env = { ...process.env, npm_lifecycle_event: "", NODE_TEST_CONTEXT: "", ...options.env };
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
      if (options.onOutput?.(out)) child.kill("SIGINT");
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      err += text;
    });
    child.on("close", (code) => resolve({ code, out, err }));
  });
}

/** What a command must answer: its exit code, and what its output and its complaints must contain. */
const COMMANDS: [args: string[], code: number, out: RegExp, err: RegExp][] = [
  [["sessions"], 0, /^ID .*HOST.*\ns1 .*www\.example\.com.*\ns2 .*bank\.example.*closed/, /^$/],
  [["sessions", "--host", "*.EXAMPLE.com"], 0, /\ns1 [^\n]*\n$/, /^$/],
  [["sessions", "--closed"], 0, /DOWN\ns2/, /^$/],
  [["sessions", "--live", "--closed"], 2, /^$/, /cannot be used with/],
  [["sessions", "--limit", "1"], 0, /… and more: the same with --cursor \d+_s1/, /^$/],
  [["sessions", "--outcome", "clientRefusedCertificate", "--since", "1h"], 0, /DOWN\ns2 .*clientRefused.*\n$/, /^$/],
  [["sessions", "--outcome", "failed"], 2, /^$/, /^outcome "failed" is none of decrypted, bypassed/],
  [["sessions", "--version", "TLSv1.4"], 2, /^$/, /^version /],
  [["sessions", "--since", "soon"], 2, /^$/, /It must be a span of time such as 24h/],
  [["sessions", "--limit", "many"], 2, /^$/, /whole number from 1 to 10000[\s\S]*See: clearline sessions --help/],
  [["sessions", "--state", "OPEN"], 2, /^$/, /^state is "OPEN", not a state/],
  [
    ["session", "s2"],
    0,
    /Outcome +clientRefusedCertificate: unknown_ca, by the client\n[\s\S]*Server +198\.51\.100\.5:443[\s\S]*Verdict +bypass[\s\S]*Because +The client closed/,
    /^$/,
  ],
  [["session", "s9"], 1, /^$/, /^Cannot show session s9: it is neither live nor in the history\n$/],
  [
    ["explain", "s2"],
    0,
    /^Then, .*: bypass, in the sni phase, by banks\n[\s\S]*Today: drop, in the sni phase, by ads/,
    /^$/,
  ],
  [["explain", "s9"], 1, /^$/, /^Cannot explain session s9: it is neither live nor in the history\n$/],
  [["trouble"], 0, /bank\.example +clientRefusedCertificate +unknown_ca[\s\S]*1 client does not trust the CA/, /^$/],
  [["top", "--by", "rule"], 0, /^RULE +SESSIONS[\s\S]*banks +1 .*\n/, /^$/],
  [["top", "--by", "colour"], 2, /^$/, /Allowed choices are host, client, rule/],
  [["series"], 0, /\nsessions +·+ +0\/min +0\/min\n/, /^$/],
  [["stats"], 0, /Live sessions +1 of 20000 \(limits\.sessions\)\n[\s\S]*proxy[\s\S]*Limits that were met/, /^$/],
  [
    ["explain", "--host", "bank.example"],
    0,
    /^decrypt, in the certificate phase, by default\n[\s\S]*bypass list.*yes/,
    /^$/,
  ],
  [
    ["explain", "--certificate", "none.pem"],
    2,
    /^$/,
    /^Cannot read none\.pem \(--certificate\): there is no such file\n$/,
  ],
  [["ca", "show"], 0, /^primary CA, ecdsa\nSubject [\s\S]*SHA-256 +(?:ab){32}\n/, /^$/],
  [["ca", "renew", "--role", "primary"], 0, /Clients must trust the new certificates: clearline ca export/, /^$/],
  [["keys", "list"], 0, /holds no key/, /^$/],
  [["keys", "add", "--host", "a"], 2, /^$/, /--certificate/],
  [["keys", "remove", "none"], 1, /^$/, /^Cannot remove key none: the node has no key with this id\n$/],
  [["cache", "show"], 0, /mint +3/, /^$/],
  [["cache", "flush", "mint"], 0, /is empty now/, /^$/],
  [["cache", "flush", "tea"], 1, /^$/, /^Cannot flush cache tea: the node has no cache of this name\n$/],
  [
    ["token", "add", "grafana", "--role", "viewer", "--for", "90d"],
    0,
    /^clearline_[\w-]{43}\n$/,
    /is good until \d{4}-/,
  ],
  [["token", "add", "grafana", "--role", "viewer"], 2, /^$/, /^Cannot add the token grafana: a token has this name/],
  [["token", "add", "x", "--role", "king"], 2, /^$/, /Allowed choices are viewer, operator, administrator/],
  [["token", "list"], 0, /^NAME .*\ngrafana +viewer +\d{4}-/, /^$/],
  [["token", "remove", "grafana"], 0, /^The token grafana no longer works\.\n$/, /^$/],
  [
    ["audit", "--action", "token", "--limit", "1"],
    0,
    /^TIME .*\n\S+ +owner +token remove +grafana +done .*\n… and/,
    /^$/,
  ],
  [["audit", "--since", "soon"], 2, /^$/, /It must be a span of time such as 24h/],
  [["end", "s1"], 0, /^The session s1 ends\.\n$/, /^$/],
  [["har", "s1", "--host", "a"], 2, /^$/, /^Give an id or --host, not both\n$/],
  [["transactions", "s1", "--host", "a"], 2, /^$/, /^Give an id or --host, not both\n$/],
  [["explain", "s1", "--host", "a"], 2, /^$/, /^Give an id, or options that describe a flow, not both\n$/],
  [["end", "s2"], 1, /^$/, /^Cannot end session s2: no live session has this ID\n$/],
  [["reload"], 0, /^Listener "web" was added\n$/, /^$/],
];
for (const [args, code, out, err] of COMMANDS) {
  test(`clearline ${args.join(" ")} ends with code ${code}`, async () => {
    const ended = await clearline([...args, "-c", config]);
    assert.match(ended.err, err);
    assert.match(ended.out, out);
    assert.equal(ended.code, code);
  });
}

for (const args of [["sessions"], ["explain"], ["ca", "show"]]) {
  test(`clearline ${args.join(" ")} --json is JSON`, async () => {
    const { code, out } = await clearline([...args, "--json", "-c", config]);
    assert.equal(typeof JSON.parse(out), "object");
    assert.equal(code, 0);
  });
}

test("Help shows examples", async () => {
  for (const args of [["sessions"], ["keys", "add"]]) {
    const { code, out } = await clearline([...args, "--help"]);
    assert.match(out, new RegExp(`Examples:\n  clearline ${args.join(" ")}`));
    assert.equal(code, 0);
  }
});

test("A command that does not exist is the user's mistake", async () => {
  const { code, err } = await clearline(["session5"]);
  assert.match(err, /unknown command.*\n.*Did you mean/);
  assert.equal(code, 2);
});

test("Through npm, the commands in messages can be typed, and file names are relative to the user's folder", async () => {
  mkdirSync(join(folder, "elsewhere"));
  writeFileSync(join(folder, "elsewhere", "here.yaml"), readFileSync(config));
  const env = { npm_lifecycle_event: "clearline", INIT_CWD: join(folder, "elsewhere") };
  const { code, err } = await clearline(["ca", "export", "-c", "here.yaml"], { env });
  assert.match(err, /elsewhere\/data\/ca\/primary-ecdsa\.pem does not exist.*npm run -s clearline -- run/);
  assert.equal(code, 2);
});

test("The error about a node that does not run says how to start it", async () => {
  const idle = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => idle.once("listening", resolve));
  const { port } = idle.address() as AddressInfo;
  await new Promise((resolve) => idle.close(resolve));
  const { code, err } = await clearline(["stats", "-c", writeConfig("idle.yaml", port)]);
  const file = join(folder, "idle.yaml");
  const start = `Start it with: clearline run -c ${file}\n`;
  assert.equal(err, `Cannot reach the node at 127.0.0.1:${port}: nothing listens there. ${start}`);
  assert.equal(code, 1);
});

test("A running node is found where it listens, even if the file names another address by now", async () => {
  const place = join(folder, "changed");
  mkdirSync(join(place, "data"), { recursive: true });
  writeFileSync(join(place, "data", "token"), readFileSync(tokenFile));
  writeNodeFile(join(place, "data"), control.address);
  const file = join(place, "clearline.yaml");
  for (const console of ['{ address: "127.0.0.1:9" }', '{ address: "nowhere" }', "7"]) {
    writeFileSync(file, `dataDir: ./data\nconsole: ${console}\n`);
    const { code, err } = await clearline(["sessions", "-c", file]);
    assert.deepEqual([code, err], [0, ""], console);
  }
  removeNodeFile(join(place, "data"));
  const { code, err } = await clearline(["sessions", "-c", file]);
  const why = `Cannot find the node: console in ${file} cannot be used. clearline check -c ${file} says what is wrong\n`;
  assert.deepEqual([code, err], [2, why]);
});

test("A command that finds its node running loads no schema, which would take longer than the command", async () => {
  const place = join(folder, "quick");
  mkdirSync(join(place, "data"), { recursive: true });
  writeFileSync(join(place, "data", "token"), readFileSync(tokenFile));
  writeFileSync(join(place, "clearline.yaml"), "dataDir: ./data\n");
  const hook =
    "registerHooks({ resolve(name, c, next) { if (name === 'zod') console.error(name); return next(name, c); } })";
  const source = `import { registerHooks } from "node:module"; ${hook};`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(source)}` };
  const args = ["sessions", "-c", join(place, "clearline.yaml")];
  assert.equal((await clearline(args, { env })).err.split("\n")[0], "zod");
  writeNodeFile(join(place, "data"), control.address);
  const { code, err } = await clearline(args, { env });
  assert.deepEqual([code, err], [0, ""]);
});

for (const status of [200, 404]) {
  test(`An answer of another program is refused: ${status}`, async () => {
    const other = createServer((_, answer) => answer.writeHead(status).end("<html>Hello</html>")).listen(
      0,
      "127.0.0.1",
    );
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { code, err } = await clearline(["stats", "-c", writeConfig("other.yaml", port)]);
    other.close();
    assert.equal(err, `Cannot ask the node at 127.0.0.1:${port}: another program answers there\n`);
    assert.equal(code, 1);
  });
}

test("The error about a wrong token names the token's file", async () => {
  const file = writeConfig("foreign.yaml", control.address.port).replace("foreign", "moved/foreign");
  mkdirSync(join(folder, "moved", "data"), { recursive: true });
  writeFileSync(file, readFileSync(config));
  writeFileSync(join(folder, "moved", "data", "token"), `${"x".repeat(43)}\n`);
  const { code, err } = await clearline(["stats", "-c", file]);
  assert.match(
    err,
    /does not accept the token in .*moved\/data\/token\. Give the file that the node runs with: -c FILE/,
  );
  assert.equal(code, 1);
});

test("A mistake elsewhere in the file does not prevent asking the running node", async () => {
  const { code } = await clearline(["stats", "-c", writeConfig("broken.yaml", control.address.port, "polcy: 1\n")]);
  assert.equal(code, 0);
});

test("check prints every error at once and ends with code 2", async () => {
  const wrong = "policy: { default: allow, rules: [{ name: a, match: { port: 70000 }, action: drop }] }\nfoo: 1\n";
  const file = writeConfig("wrong.yaml", 8484, wrong);
  const { code, out, err } = await clearline(["check", "-c", file]);
  for (const path of ["policy.default", "policy.rules[0].match.port", "foo"]) assert.ok(err.includes(path), err);
  assert.match(err, /\n3 errors\n$/);
  assert.equal(out, "");
  assert.equal(code, 2);
  const json = await clearline(["check", "--json", "-c", file]);
  assert.deepEqual(
    JSON.parse(json.out)
      .errors.map(({ path }: { path: string }) => path)
      .sort(),
    ["foo", "policy.default", "policy.rules[0].match.port"],
  );
  assert.equal(json.code, 2);
});

test("check says that a file is missing, and summarises a good one", async () => {
  const missing = await clearline(["check", "-c", "none.yaml"]);
  assert.match(missing.err, /none\.yaml/);
  assert.equal(missing.code, 2);
  const good = await clearline(["check", "-c", config]);
  assert.match(good.out, /^No error in .*\n\nListener +proxy: explicit on 127\.0\.0\.1:8080\n/);
  assert.equal(good.code, 0);
});

test("The CAs are exported from the data folder, whether a node runs or not", async () => {
  const place = join(folder, "stopped");
  mkdirSync(join(place, "data", "ca"), { recursive: true });
  const pem = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  writeFileSync(join(place, "data", "ca", "primary-ecdsa.pem"), pem("RUNE") + pem("Root"));
  writeFileSync(join(place, "data", "ca", "primary-rsa.pem"), pem("UlNB"));
  const file = join(place, "clearline.yaml");
  writeFileSync(file, 'dataDir: ./data\nconsole: { address: "127.0.0.1:9" }\n');
  const all = await clearline(["ca", "export", "-c", file]);
  assert.equal(all.out, pem("RUNE") + pem("UlNB"));
  assert.equal((await clearline(["ca", "export", "--key-type", "rsa", "-c", file])).out, pem("UlNB"));
  writeFileSync(join(place, "own.pem"), pem("T3du"));
  writeFileSync(file, "dataDir: ./data\nsigning: { primary: { certificate: own.pem, key: own.key } }\n");
  assert.equal((await clearline(["ca", "export", "-c", file])).out, pem("T3du"));
});

test("A key is added from its files", async () => {
  writeFileSync(join(folder, "www.pem"), "-----BEGIN CERTIFICATE-----");
  writeFileSync(join(folder, "www.key"), "-----BEGIN PRIVATE KEY-----");
  const files = ["--certificate", "www.pem", "--key", "www.key"];
  const added = await clearline(["keys", "add", "--host", "a.example", "*.b.example", ...files, "-c", config]);
  assert.equal(added.out, "Added key k1: new sessions with a.example, *.b.example get this certificate.\n");
  assert.equal((await clearline(["keys", "remove", "k1", "-c", config])).code, 0);
});

test("Several errors about one key are printed, each on its line", async () => {
  writeFileSync(join(folder, "bad.key"), "no key");
  const files = ["--certificate", "bad.key", "--key", "bad.key"];
  const { code, err } = await clearline(["keys", "add", "--host", "a", ...files, "-c", config]);
  assert.equal(err, "The key is not the certificate's\nNo host\n2 errors\n");
  assert.equal(code, 2);
});

test("Control characters in names from the network do not reach the terminal, as text or as JSON", async () => {
  const evil = "\x1b]0;owned\x07\u202egro.elpmaxe\u009b31m";
  operations.apply(testSession("evil", 1, { connectHost: evil }));
  const text = await clearline(["sessions", "-c", config]);
  const json = await clearline(["session", "evil", "--json", "-c", config]);
  operations.apply({ id: "evil", end: 2 });
  for (const { out } of [text, json]) assert.doesNotMatch(out, /[\p{Cf}]|(?!\n)\p{Cc}/u);
  assert.equal(JSON.parse(json.out).connectHost, evil);
});

test("Output that does not go to a terminal has no colours", async () => {
  const { out } = await clearline(["sessions", "-c", config]);
  assert.ok(!out.includes("\x1b"));
});

test("A reader that has seen enough ends the command quietly", async () => {
  const code = await new Promise((resolve) => {
    const child = spawn(process.execPath, [MAIN, "sessions", "--json", "-c", config]);
    child.stdout.destroy();
    child.on("close", resolve);
  });
  assert.equal(code, 0);
});

test("--watch prints the list again and again until Ctrl-C", async () => {
  const twice = (out: string) => out.split("Sessions at").length > 2;
  const { code, out } = await clearline(["sessions", "--watch", "-c", config], { onOutput: twice });
  assert.match(out, /www\.example\.com[\s\S]*www\.example\.com/);
  assert.equal(code, 0);
});

test("--watch --json gives a line for each change of the sessions asked for", async () => {
  const changes = setInterval(() => {
    operations.apply(
      { id: "s1", lastActivity: Date.now() },
      testSession(`o${Date.now()}`, 1, { sni: "other.example" }),
    );
  }, 100);
  const enough = (out: string) => out.split("\n").length > 3;
  const args = ["sessions", "--watch", "--json", "--host", "www.example.com", "-c", config];
  const { code, out } = await clearline(args, { onOutput: enough });
  clearInterval(changes);
  const lines = out.trim().split("\n");
  assert.deepEqual(new Set(lines.map((line) => JSON.parse(line).id)), new Set(["s1"]));
  assert.equal(code, 0);
});

test("A watch ends when the node stops, and says so", async () => {
  const other = await startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log: QUIET });
  const changes = setInterval(() => operations.apply({ id: "s1", lastActivity: Date.now() }), 100);
  const onOutput = () => {
    clearInterval(changes);
    void other.close();
    return false;
  };
  const file = writeConfig("ending.yaml", other.address.port);
  const { code, err } = await clearline(["sessions", "--watch", "--json", "-c", file], { onOutput });
  assert.equal(err, `The node at 127.0.0.1:${other.address.port} has stopped\n`);
  assert.equal(code, 1);
});

test("doctor without a file lets the node look at itself: only it knows the options that it was started with", async () => {
  const env = {
    CLEARLINE_NODE: `http://127.0.0.1:${control.address.port}`,
    CLEARLINE_TOKEN: readFileSync(tokenFile, "utf8").trim(),
    XDG_STATE_HOME: folder,
  };
  const { code, out, err } = await clearline(["doctor"], { env });
  assert.deepEqual([code, err], [1, ""]);
  assert.match(out, /^ok +node +Version .* runs\nwarning +dns +No server answers\n +-> Mend the way to it\n$/);
});
