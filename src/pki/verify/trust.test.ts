import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { rootCertificates } from "node:tls";
import { ConfigError } from "../../errors.ts";
import { emptyFolder, make } from "../x509/test-chain.ts";
import { readTrust } from "./trust.ts";

test("A file of the user's that ends in the middle of a certificate is refused: its other roots would be missed", async () => {
  const [a, b] = [await make({ subject: "CN=a" }), await make({ subject: "CN=b" })];
  const pem = a.pem + b.pem;
  assert.throws(() => readTrust({ system: false, extra: [{ path: "trust.files[0]", pem: pem.slice(0, -30) }] }), {
    name: "ConfigError",
    message: "Cannot use trust.files[0]: one of its 2 certificates has no end; the file may be cut off",
  });
});

test("readTrust() reads the first system file with roots, and the user's files", async (t) => {
  const folder = emptyFolder(t);
  const [a, b, own] = [
    await make({ subject: "CN=a" }),
    await make({ subject: "CN=b" }),
    await make({ subject: "CN=own" }),
  ];
  const [empty, file] = [join(folder, "empty.pem"), join(folder, "roots.pem")];
  writeFileSync(empty, "# none yet\n");
  writeFileSync(
    file,
    `# a\n${a.pem}# broken\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${b.pem}${a.pem}`,
  );
  const extra = [{ path: "trust.files[0]", pem: own.pem + b.pem }];
  const trust = readTrust({ system: true, extra }, [join(folder, "missing"), empty, file]);
  assert.deepEqual(trust, { roots: [a.pem, b.pem, own.pem], source: "system", file });
  assert.deepEqual(readTrust({ system: false, extra }, [file]), {
    roots: [own.pem, b.pem],
    source: "none",
    file: undefined,
  });
});

test("readTrust() uses Node's bundled roots when the system has none", () => {
  const { roots, source } = readTrust({ system: true, extra: [] }, ["/nonexistent/roots.pem"]);
  assert.equal(source, "bundled");
  assert.equal(roots.length, rootCertificates.length);
});

test("readTrust() names the file without a certificate, or with a malformed one", async () => {
  const { pem } = await make();
  const refused = (text: string, message: RegExp) =>
    assert.throws(
      () =>
        readTrust({
          system: false,
          extra: [
            { path: "trust.files[0]", pem },
            { path: "trust.files[1]", pem: text },
          ],
        }),
      (error: Error) => error instanceof ConfigError && error.path === "trust.files[1]" && message.test(error.message),
    );
  refused("", /it has no PEM certificate/);
  refused(`${pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`, /certificate 2 cannot be read/);
});
