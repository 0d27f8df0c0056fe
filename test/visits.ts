/** A real client that keeps its session from one visit to the next. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { GET, opensslClient } from "./clients.ts";
import type { TestNode } from "./node.ts";
import { DOMAIN } from "./pki.ts";
import { scratch } from "./processes.ts";

/** One visit of a real client that keeps its session in a file, and brings what is in it. */
export interface Visit {
  readonly port: number;
  readonly name: string;
  readonly node: Pick<TestNode, "primary">;
  readonly version: "TLSv1.2" | "TLSv1.3";
  readonly session: string;
  readonly tickets?: boolean;
  readonly from?: string;
  readonly more?: readonly string[];
  readonly input?: string;
}

/** The first visit begins a session, the others come back to it. */
export async function visit(again: boolean, visited: Visit): Promise<{ resumed: boolean; page: string }> {
  const { port, name, node, version, session, tickets = false, from, more = [], input = GET } = visited;
  const { code, stdout, stderr } = await opensslClient({
    way: { port },
    name,
    roots: node.primary,
    version,
    input,
    more: [
      ...(again ? ["-sess_in", session] : ["-sess_out", session]),
      ...(tickets || version === "TLSv1.3" ? [] : ["-no_ticket"]),
      ...(from === undefined ? [] : ["-bind", `${from}:0`]),
      ...more,
    ],
  });
  assert.equal(code, 0, stderr + stdout);
  // Behind it stands the server's page, which says the same of its own session.
  const [client = ""] = stdout.split("<pre>");
  return { resumed: /^Reused, /m.test(client), page: stdout };
}

let count = 0;

/** A host name of its own, and a file for the session. */
export function fresh(what: string): { readonly name: string; readonly session: string } {
  count += 1;
  return { name: `${what}-${count}.${DOMAIN}`, session: join(scratch(), "session.pem") };
}
