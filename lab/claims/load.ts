import assert from "node:assert/strict";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim } from "../claim.ts";
import type { LabNode } from "../node.ts";
import { PORTS } from "../servers.ts";

const CLIENTS = 200;

/** Parallel clients; each request is a new connection with a handshake on both legs. */
export function carries(seconds: number): Claim {
  return {
    says: `${CLIENTS} parallel clients for ${seconds} s, each request in a new TLS session: no request fails`,
    only: "bridge",
    async check({ network: { client, server }, node }) {
      const before = sum(await verdicts(node));
      const run = ["-z", `${seconds}s`, "-c", String(CLIENTS), "-t", "20", "-disable-keepalive"];
      const url = `https://${server.address[4]}:${PORTS.https}/`;
      const args = [...run, "-host", `www.${DOMAIN}`, url];
      const report = await client.must("hey", args, { within: (seconds + 60) * 1000 });
      const codes = [...report.matchAll(/^\s*\[(\d+)\]\s+(\d+) responses$/gm)].map(([, code, count]) => [
        code,
        Number(count),
      ]);
      assert.doesNotMatch(report, /Error distribution/, report);
      assert.deepEqual(
        codes.map(([code]) => code),
        ["200"],
        report,
      );
      const requests = Number(codes[0]![1]);
      const { decrypt, bypass } = await until("all of them as sessions", async () => {
        const now = await verdicts(node);
        return sum(now) - before >= requests && now;
      });
      const rate = /Requests\/sec:\s*([\d.]+)/.exec(report)?.[1];
      return `${requests} requests, 0 failed, ${rate} a second; ${decrypt} sessions decrypted, ${bypass} bypassed by an overloaded node`;
    },
  };
}

/** How many sessions were decrypted so far, and how many were bypassed. */
async function verdicts(node: LabNode): Promise<{ readonly decrypt: number; readonly bypass: number }> {
  const { counters } = await node.stats();
  const decided = Object.values(counters).map(({ decided }) => decided);
  const count = (verdict: "decrypt" | "bypass") =>
    decided.reduce((all, { [verdict]: { network, sni, certificate } }) => all + network + sni + certificate, 0);
  return { decrypt: count("decrypt"), bypass: count("bypass") };
}

function sum({ decrypt, bypass }: { readonly decrypt: number; readonly bypass: number }): number {
  return decrypt + bypass;
}
