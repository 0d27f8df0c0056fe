import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { isIPv4, isIPv6 } from "node:net";
import { Ajv } from "ajv";

const require = createRequire(import.meta.url);

/** Throws where a file is not HAR 1.2. */
export function assertHar(file: unknown): void {
  const schemas: Record<string, object> = require("har-schema");
  const ajv = new Ajv({
    strict: false,
    formats: { "date-time": isDate, ipv4: isIPv4, ipv6: isIPv6, uri: URL.canParse },
  });
  // The schemas are written for draft 6, of which ajv knows all that they use.
  const known = Object.values(schemas).map(({ $schema: _, ...schema }: { $schema?: string; $id?: string }) => schema);
  for (const schema of known) ajv.addSchema(schema);
  const validate = ajv.getSchema("har.json#") ?? ajv.getSchema("har.json");
  assert.ok(validate?.(file), JSON.stringify(validate?.errors));
}

function isDate(text: string): boolean {
  return new Date(text).toISOString() === text;
}
