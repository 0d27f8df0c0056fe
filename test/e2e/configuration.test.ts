import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { needs, program } from "../needs.ts";
import { MAIN } from "../node.ts";
import { makePki, type Pki } from "../pki.ts";
import { freePort, must, type Outcome, run, scratch } from "../processes.ts";

describe("A wrong configuration", needs("openssl"), () => {
  let pki: Pki;
  before(async () => {
    pki = await makePki();
  });

  /** Almost every line has a mistake. `check` must report all places and paths in MISTAKES. */
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
  const MISTAKES = [
    "3:41: listeners[0].address",
    "4:5: listeners[1].server",
    "4:13: listeners[1].name",
    "5:22: listeners[2].mode",
    "7:12: policy.default",
    "8:20: policy.versions.min",
    "9:21: policy.lists.bypass[0]",
    "11:33: policy.rules[0].match.port",
    "12:35: policy.rules[1].match.client",
    "13:27: policy.rules[2].match.hots",
    "15:37: keys[0].certificate",
    "15:57: keys[0].key",
    "17:61: feeds[0].rotate",
    "18:19: timeouts.idle",
    "19:10: workers",
    "20:1: surprise",
  ];

  test("check reports all errors at once, each with its place and path, and ends with 2", async () => {
    const { code, output } = await command("check", wrong);
    assert.equal(code, 2, output);
    for (const mistake of MISTAKES) assert.ok(output.includes(`clearline.yaml:${mistake} `), `${mistake}\n${output}`);
    assert.match(output, /: policy\.rules\[0\]\.match\.port is 70000, above 65535\n/);
    assert.doesNotMatch(output, /\n\s+at /);
    assert.ok(!output.includes(" | "), "no excerpt where no terminal is");
  });

  test("check --json reports line and column of each error", async () => {
    const folder = scratch();
    const file = join(folder, "clearline.yaml");
    writeFileSync(file, `${minimal("", 18_080)}surprise: 1\n`);
    const { code, stdout } = await run(process.execPath, [MAIN, "check", "--json", "-c", file]);
    assert.equal(code, 2);
    const error = `${file}:4:1: surprise is not known`;
    assert.deepEqual(JSON.parse(stdout), { errors: [{ path: "surprise", error, line: 4, column: 1 }] });
  });

  test("On a terminal check and run show the line with a caret under the column", needs("python3"), async () => {
    for (const verb of ["check", "run"]) {
      const folder = scratch();
      writeFileSync(join(folder, "clearline.yaml"), `${minimal("", 18_080)}workers: 99\n`);
      const terminal = "import pty, sys; pty.spawn(sys.argv[1:])";
      const arguments_ = ["-c", terminal, process.execPath, MAIN, verb, "-c", "clearline.yaml"];
      const { stdout } = await run(program("python3"), arguments_, { cwd: folder });
      assert.equal(
        stdout.replaceAll("\r", ""),
        "clearline.yaml:4:10: workers is 99, above 64\n4 | workers: 99\n  |          ^\n",
      );
    }
  });

  test("run reports the same errors, ends with 2 and starts nothing", async () => {
    const { code, output, folder } = await command("run", wrong);
    assert.equal(code, 2, output);
    for (const mistake of MISTAKES) assert.ok(output.includes(`clearline.yaml:${mistake} `), `${mistake}\n${output}`);
    assert.equal(existsSync(join(folder, "data")), false);
  });

  const minimal = (more: string, port: number) =>
    `dataDir: ./data\nconsole: { address: "127.0.0.1:${port + 1}" }\nlisteners: [{ name: p, mode: explicit, address: "127.0.0.1:${port}" }]\n${more}`;

  const singles: [string, (folder: string) => string | Promise<string>, RegExp][] = [
    ["broken YAML", () => "listeners: [", /clearline\.yaml:1:\d+: /],
    ["a key that appears twice", () => minimal("workers: 1\nworkers: 2\n", 18_080), /:5:1: .*workers.*twice/],
    ["an empty file", () => "", /clearline\.yaml:1:1: listeners is missing/],
    ["a list instead of keys", () => "- a\n- b\n", /clearline\.yaml:1:1: the file is a list/],
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
      /clearline\.yaml:4:8: .*keys\[0\].*its key does not belong to its certificate/,
    ],
    [
      "a file without a certificate",
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
    ["an unknown key", () => minimal("teapot: []", 18_080), /teapot is not known/],
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

  test("A missing configuration file is reported in one line with its name", async () => {
    const { code, stderr, stdout } = await run(process.execPath, [MAIN, "run", "-c", "/no/such/clearline.yaml"]);
    assert.equal(code, 2);
    assert.match(stderr + stdout, /^.*\/no\/such\/clearline\.yaml.*\n$/);
  });

  test("A port in use is reported in one line with the listener's address", async () => {
    const holder = net.createServer().listen(await freePort(), "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as net.AddressInfo;
    const folder = scratch();
    const { code, output } = await command("run", minimal("", port), folder);
    holder.close();
    assert.equal(code, 75, output);
    assert.equal(output.trim().split("\n").length, 1, output);
    assert.match(output, new RegExp(`clearline\\.yaml:3:49: .*127\\.0\\.0\\.1:${port}.*listeners\\[0\\]\\.address`));
  });

  test("A port in use for the console is reported in one line", async () => {
    const holder = net.createServer().listen(await freePort(), "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as net.AddressInfo;
    const config = `dataDir: ./data\nlisteners: [{ name: p, mode: explicit, address: "127.0.0.1:${await freePort()}" }]\nlog: { level: error }\nconsole: { address: "127.0.0.1:${port}" }\n`;
    const { code, output } = await command("run", config, scratch());
    holder.close();
    assert.equal(code, 75, output);
    assert.ok(output.includes(`127.0.0.1:${port}`) && output.includes("console.address"), output);
  });

  test("An address that this machine does not have is reported in one line", async () => {
    const config = `dataDir: ./data\nlisteners: [{ name: p, mode: explicit, address: "192.0.2.1:8080" }]\n`;
    const { code, output } = await command("run", config, scratch());
    assert.equal(code, 75, output);
    assert.match(output, /:2:49: .*192\.0\.2\.1:8080.*no such address.*listeners\[0\]\.address/);
  });

  const FOLDERS: [title: string, dataDir: string, why: RegExp][] = [
    ["in /proc, where no folder can be made", "/proc/clearline/data", /this file system does not allow new folders/],
    ["that is a file", "./file", /a file has this name/],
    ["below a file", "./file/data", /one of its parents is a file/],
  ];
  for (const [title, dataDir, why] of FOLDERS) {
    test(`run refuses a dataDir ${title}`, async () => {
      const folder = scratch();
      writeFileSync(join(folder, "file"), "");
      const config = minimal("", await freePort()).replace("./data", dataDir);
      const { code, output } = await command("run", config, folder);
      assert.equal(code, 2, output);
      assert.match(output, /^.*clearline\.yaml:1:10: Cannot use the folder [^\n]* \(dataDir\): [^\n]*\n$/);
      assert.match(output, why);
    });
  }

  const isRoot = process.getuid?.() === 0;
  const root = { skip: !isRoot && "needs root" };
  test("run refuses a dataDir on a read-only file system", root, async () => {
    const folder = scratch();
    const file = join(folder, "clearline.yaml");
    mkdirSync(join(folder, "data"));
    writeFileSync(file, minimal("", await freePort()));
    const script = 'mount -t tmpfs -o ro none "$1" && shift && exec "$@"';
    const node = [process.execPath, MAIN, "run", "-c", file];
    const { code, stderr } = await run("unshare", ["-m", "sh", "-c", script, "sh", join(folder, "data"), ...node]);
    assert.equal(code, 75, stderr);
    assert.match(stderr, /:1:10: .*\(dataDir\): the file system is read-only\n$/);
  });

  test("run refuses a dataDir where this user may not write", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "data"));
    chmodSync(join(folder, "data"), 0o555);
    const config = minimal("", await freePort());
    const { code, output } = isRoot
      ? await commandAsNobody("run", config, folder)
      : await command("run", config, folder);
    assert.equal(code, 2, output);
    assert.match(output, /:1:10: .*\(dataDir\): this user has no permission to write there\n$/);
  });

  test("A key file that this user may not read is named", async () => {
    const folder = scratch();
    const key = join(folder, "secret.key");
    writeFileSync(key, "x");
    chmodSync(key, 0);
    const config = minimal(
      `keys: [{ hosts: [x.test], certificate: ${pki.server.ecdsa.certificate}, key: ${key} }]`,
      18_080,
    );
    const { code, output } = isRoot
      ? await commandAsNobody("check", config, folder)
      : await command("check", config, folder);
    assert.equal(code, 2, output);
    assert.match(output, /keys\[0\]\.key.*permission/i);
  });

  test("check accepts a good configuration", async () => {
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

/** Root may read and write everything, so the command runs as the user nobody. */
async function commandAsNobody(verb: string, config: string, folder: string): Promise<Answer> {
  const file = join(folder, "clearline.yaml");
  writeFileSync(file, config);
  chmodSync(folder, 0o755);
  const nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, MAIN];
  return answer(await run(nobody[0]!, [...nobody.slice(1), verb, "-c", file], { cwd: folder }), folder);
}

function answer({ code, stdout, stderr }: Outcome, folder: string): Answer {
  return { code, output: stdout + stderr, folder };
}
