import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { needs } from "../needs.ts";
import { source } from "../peers.ts";
import { makePki } from "../pki.ts";
import { run } from "../processes.ts";

const isRoot = process.getuid?.() === 0;

/** Namespaces, and a node of another user, need root. */
const options = isRoot
  ? needs("openssl", "nginx-light", "curl", "iproute2", "ca-certificates")
  : { skip: "needs root, for namespaces" };

describe("npm start", options, () => {
  test("npm start, without root and with no file, decrypts a real client's session and keeps its plaintext", async () => {
    const pki = await makePki();
    const { certificate, key } = pki.server.ecdsa;
    const inside = [process.execPath, source("first-start.ts"), certificate, key, pki.root.certificate];
    const { code, stdout, stderr } = await run("/usr/bin/unshare", ["--mount", "--net", ...inside], {
      within: 120_000,
    });
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /npm start ended with (0|143|null)/);
  });
});
