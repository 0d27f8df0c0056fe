import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { needs } from "../needs.ts";
import { MAIN } from "../node.ts";
import { makePki, type Pki } from "../pki.ts";
import { freePort, must, type Outcome, run, scratch } from "../processes.ts";

describe("A configuration that cannot be used", needs("openssl"), () => {
  let pki: Pki;
  before(async () => {
    pki = await makePki();
  });

  /** Every sentence of it is wrong in its own way; `check` must name each of these paths. */
  const wrong = `
listeners:
  - { name: a, mode: explicit, address: "127.0.0.1:70000" }
  - { name: a, mode: forward, address: "127.0.0.1:18081" }
  - { name: c, mode: sideways, address: "127.0.0.1:18082" }
policy:
  default: allow
  versions: { min: TLSv1.3, max: TLSv1.2 }
  lists: { bypass: [./missing.txt] }
  rules:
    - { name: r, match: { port: 70000 }, action: bypass }
    - { name: s, match: { client: "10.0.0.0/99" }, action: drop }
    - { name: t, match: { hots: x.test }, action: drop }
keys:
  - { hosts: [x.test], certificate: ./missing.pem, key: ./missing.key }
feeds:
  - { name: f, kind: pcapng, directory: ./captures, rotate: huge }
timeouts: { idle: soon }
workers: many
surprise: 1
`;
  const PATHS = [
    "listeners[0].address",
    "listeners[1].server",
    "listeners[1].name",
    "listeners[2].mode",
    "policy.default",
    "policy.versions",
    "policy.lists.bypass[0]",
    "policy.rules[0].match.port",
    "policy.rules[1].match.client",
    "policy.rules[2].match.hots",
    "keys[0].certificate",
    "keys[0].key",
    "feeds[0].rotate",
    "timeouts.idle",
    "workers",
    "surprise",
  ];

  test("check names every error at once, each with its path, and ends with 2", async () => {
    const { code, output } = await command("check", wrong);
    assert.equal(code, 2, output);
    for (const path of PATHS) assert.ok(output.includes(path), `${path} is not named in:\n${output}`);
    assert.match(output, /policy\.rules\[0\]\.match\.port is 70000, above 65535/);
    assert.doesNotMatch(output, /\n\s+at /);
  });

  test("run names them too, ends with 2 and starts nothing", async () => {
    const { code, output, folder } = await command("run", wrong);
    assert.equal(code, 2, output);
    for (const path of PATHS) assert.ok(output.includes(path), `${path} is not named in:\n${output}`);
    assert.equal(existsSync(join(folder, "data")), false);
  });

  const minimal = (more: string, port: number) =>
    `dataDir: ./data\nconsole: { address: "127.0.0.1:${port + 1}" }\nlisteners: [{ name: p, mode: explicit, address: "127.0.0.1:${port}" }]\n${more}`;

  const singles: [string, (folder: string) => string | Promise<string>, RegExp][] = [
    ["broken YAML", () => "listeners: [", /clearline\.yaml:\d+:\d+/],
    ["a key that stands twice", () => minimal("workers: 1\nworkers: 2\n", 18_080), /workers.*twice/],
    ["an empty file", () => "", /listeners is missing/],
    ["a list instead of keys", () => "- a\n- b\n", /Cannot read/],
    [
      "two listeners at one address",
      () => `${minimal("", 18_080)}`.replace("]", ', { name: q, mode: explicit, address: "127.0.0.1:18080" }]'),
      /listeners\[1\]\.address/,
    ],
    [
      "a key that does not match its certificate",
      () =>
        minimal(
          `keys: [{ hosts: [x.test], certificate: ${pki.server.rsa.certificate}, key: ${pki.server.ecdsa.key} }]`,
          18_080,
        ),
      /keys\[0\].*its key does not belong to its certificate/,
    ],
    [
      "a certificate that is none",
      (folder) => {
        writeFileSync(join(folder, "no.pem"), "no certificate\n");
        return minimal(`keys: [{ hosts: [x.test], certificate: ./no.pem, key: ${pki.server.ecdsa.key} }]`, 18_080);
      },
      /keys\[0\]/,
    ],
    [
      "a key with a passphrase",
      async (folder) => {
        const key = join(folder, "locked.key");
        await must("openssl", ["pkey", "-in", pki.server.ecdsa.key, "-aes128", "-passout", "pass:x", "-out", key]);
        return minimal(
          `keys: [{ hosts: [x.test], certificate: ${pki.server.ecdsa.certificate}, key: ${key} }]`,
          18_080,
        );
      },
      /keys\[0\].*(passphrase|encrypted)/,
    ],
    [
      "a bad line of a list",
      (folder) => {
        writeFileSync(join(folder, "list.txt"), "good.test\n# comment\nnot a host!\n");
        return minimal("policy: { lists: { bypass: [./list.txt] } }", 18_080);
      },
      /list\.txt:3/,
    ],
    [
      "a forward to itself",
      () =>
        minimal("", 18_080).replace(
          "]",
          ', { name: loop, mode: forward, address: "127.0.0.1:18090", server: "127.0.0.1:18090" }]',
        ),
      /listeners\[1\]/,
    ],
    ["a key that no version has", () => minimal("teapot: []", 18_080), /teapot is not known/],
  ];
  for (const [title, write, expected] of singles) {
    for (const verb of ["check", "run"]) {
      test(`${verb} refuses ${title} with 2`, async () => {
        const folder = scratch();
        const { code, output } = await command(verb, await write(folder), folder);
        assert.equal(code, 2, output);
        assert.match(output, expected);
        assert.doesNotMatch(output, /\n\s+at /);
        assert.equal(existsSync(join(folder, "data")), false);
      });
    }
  }

  test("A configuration file that is not there is one line that names it", async () => {
    const { code, stderr, stdout } = await run(process.execPath, [MAIN, "run", "-c", "/no/such/clearline.yaml"]);
    assert.equal(code, 2);
    assert.match(stderr + stdout, /^.*\/no\/such\/clearline\.yaml.*\n$/);
  });

  test("A port in use is one line that names the listener's address", async () => {
    const holder = net.createServer().listen(await freePort(), "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as net.AddressInfo;
    const folder = scratch();
    const { code, output } = await command("run", minimal("", port), folder);
    holder.close();
    assert.equal(code, 2, output);
    assert.equal(output.trim().split("\n").length, 1, output);
    assert.ok(output.includes(`127.0.0.1:${port}`) && output.includes("listeners[0].address"), output);
  });

  test("A console's port in use is one line too", async () => {
    const holder = net.createServer().listen(await freePort(), "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as net.AddressInfo;
    const config = `dataDir: ./data\nlisteners: [{ name: p, mode: explicit, address: "127.0.0.1:${await freePort()}" }]\nlog: { level: error }\nconsole: { address: "127.0.0.1:${port}" }\n`;
    const { code, output } = await command("run", config, scratch());
    holder.close();
    assert.equal(code, 2, output);
    assert.ok(output.includes(`127.0.0.1:${port}`) && output.includes("console.address"), output);
  });

  test("An address that this machine does not have is one line", async () => {
    const config = `dataDir: ./data\nlisteners: [{ name: p, mode: explicit, address: "192.0.2.1:8080" }]\n`;
    const { code, output } = await command("run", config, scratch());
    assert.equal(code, 2, output);
    assert.match(output, /192\.0\.2\.1:8080.*listeners\[0\]\.address.*no such address/);
  });

  const isRoot = process.getuid?.() === 0;
  test("A key without permission is named", async () => {
    const folder = scratch();
    const key = join(folder, "secret.key");
    writeFileSync(key, "x");
    chmodSync(key, 0);
    const config = minimal(
      `keys: [{ hosts: [x.test], certificate: ${pki.server.ecdsa.certificate}, key: ${key} }]`,
      18_080,
    );
    const { code, output } = isRoot ? await commandAsNobody(config, folder) : await command("check", config, folder);
    assert.equal(code, 2, output);
    assert.match(output, /keys\[0\]\.key.*permission/i);
  });

  test("check says that a good configuration is good", async () => {
    const { code, output } = await command("check", minimal("", 18_080), scratch());
    assert.equal(code, 0, output);
    assert.ok(output.length > 0);
  });
});

interface Answer {
  readonly code: number | null;
  readonly output: string;
  readonly folder: string;
}

async function command(verb: string, config: string, folder = scratch()): Promise<Answer> {
  const file = join(folder, "clearline.yaml");
  writeFileSync(file, config);
  return answer(await run(process.execPath, [MAIN, verb, "-c", file], { cwd: folder }), folder);
}

/** Root may read everything: so the command runs as the user that may read nothing. */
async function commandAsNobody(config: string, folder: string): Promise<Answer> {
  const file = join(folder, "clearline.yaml");
  writeFileSync(file, config);
  chmodSync(folder, 0o755);
  const program = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, MAIN];
  return answer(await run(program[0]!, [...program.slice(1), "check", "-c", file], { cwd: folder }), folder);
}

function answer({ code, stdout, stderr }: Outcome, folder: string): Answer {
  return { code, output: stdout + stderr, folder };
}
