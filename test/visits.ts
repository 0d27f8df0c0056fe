/** Visits of a real client that resumes its session. */
import assert from "node:assert/strict";
import { constants } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { record } from "../src/wire/record.ts";
import { GET, opensslClient } from "./clients.ts";
import type { TestNode } from "./node.ts";
import { DOMAIN } from "./pki.ts";
import { scratch } from "./processes.ts";

/** How openssl's client visits a server. It keeps its session in a file. */
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

/** Visits a server: with `again`, it offers the session of the visit before. */
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
  // The server's page follows, which has the same line about its own session.
  const [client = ""] = stdout.split("<pre>");
  return { resumed: /^Reused, /m.test(client), page: stdout };
}

/** Resumes a TLS 1.2 session by identifier, then sends a record that is not encrypted. The answer is a fatal alert. */
export async function spoil({ port, name, session, version }: Visit): Promise<void> {
  const [, pem = ""] =
    /-----BEGIN SSL SESSION PARAMETERS-----([^-]+)-----END/.exec(readFileSync(session, "utf8")) ?? [];
  const socket = net.connect(port, "127.0.0.1");
  const client = tls.connect({
    ...{ socket, servername: name, session: Buffer.from(pem, "base64"), rejectUnauthorized: false },
    ...{ minVersion: version, maxVersion: version, secureOptions: constants.SSL_OP_NO_TICKET },
  });
  await once(client, "secureConnect");
  assert.equal(client.isSessionReused(), true);
  const refused = once(client, "error");
  // Its last flight is on its way before.
  await new Promise((sent) => client.write("G", sent));
  socket.write(record(23, 0x0303, Buffer.alloc(64)));
  const [error] = await refused;
  assert.equal(error.code, "ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC");
}

/** Whether none of so many visits resumes. */
export async function neverResumes(times: number, go: () => Promise<{ readonly resumed: boolean }>): Promise<boolean> {
  for (let time = 0; time < times; time += 1) if ((await go()).resumed) return false;
  return true;
}

let count = 0;

/** A host name of its own, and a file for the session. */
export function fresh(what: string): { readonly name: string; readonly session: string } {
  count += 1;
  return { name: `${what}-${count}.${DOMAIN}`, session: join(scratch(), "session.pem") };
}
