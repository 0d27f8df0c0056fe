import assert from "node:assert/strict";
import { DOMAIN } from "../../test/pki.ts";
import type { Claim, Stage } from "../claim.ts";
import { dial, nextLine } from "../ends.ts";
import { FAMILIES, type Family, type Network } from "../network.ts";
import { PORTS } from "../servers.ts";
import { fetchDecrypted } from "./traffic.ts";

/**
 * An administrator's own rules: connections get the node's address behind the node, and the node's host accepts only known
 * traffic, with the rule of docs/guide/inline.md for intercepted connections.
 */
export function masquerade({ topology, node }: Network): Promise<unknown> {
  const input = `table inet translation {
    chain postrouting {
      type nat hook postrouting priority srcnat; policy accept;
      oifname "${topology === "bridge" ? "clbr0" : node.networkB}" masquerade
    }
    chain input {
      type filter hook input priority filter; policy drop;
      iifname lo accept
      meta l4proto ipv6-icmp accept
      ct state established,related accept
      meta mark and 0xe00000 == 0xa00000 accept
    }
  }
  `;
  return node.must("nft", ["-f", "-"], { input });
}

export const MASQUERADED: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [decrypts(family), greets(family), bypasses(family)]),
  ...FAMILIES.map(refuses),
  forwards(),
];

function decrypts(family: Family): Claim {
  return {
    says: `IPv${family}: with masquerading behind the node, TLS is decrypted and the server sees the node's address`,
    async check(stage) {
      const page = await fetchDecrypted(stage, family, PORTS.https);
      assert.equal(page.trim().split(" ").at(-1), nodeAddress(stage, family));
      return page.trim();
    },
  };
}

function greets(family: Family): Claim {
  return {
    says: `IPv${family}: with masquerading, plaintext passes too, also on 60 connections at once`,
    async check(stage) {
      const { client, server } = stage.network;
      const seen = await Promise.all(
        Array.from({ length: 60 }, async () => {
          const socket = await dial(client, { address: server.address[family], port: PORTS.who });
          const line = await nextLine(socket);
          socket.end();
          return line.split(" ")[0];
        }),
      );
      assert.deepEqual([...new Set(seen)], [nodeAddress(stage, family)]);
      return `60 from ${seen[0]}`;
    },
  };
}

function bypasses(family: Family): Claim {
  return {
    says: `IPv${family}: the kernel masquerades connections that the network phase bypasses, as it would without a node`,
    only: "routed",
    async check(stage) {
      const page = await fetchPast(stage, family, PORTS.bypassed);
      assert.equal(page.trim().split(" ").at(-1), nodeAddress(stage, family));
      return page.trim();
    },
  };
}

function refuses(family: Family): Claim {
  return {
    says: `IPv${family}: with masquerading, a closed port is refused to the client too`,
    async check({ network: { client, server } }) {
      const dialed = dial(client, { address: server.address[family], port: PORTS.closed });
      await assert.rejects(dialed, { code: "ECONNREFUSED" });
      return "ECONNREFUSED";
    },
  };
}

/** The last of these: it kills the node. */
function forwards(): Claim {
  return {
    says: "failure: open. Without the node, the kernel tracks and masquerades forwarded connections as on any router",
    async check(stage) {
      const { node } = stage;
      node.kill(node.pids());
      await node.process.ended;
      const pages = [];
      for (const family of FAMILIES) {
        const page = await fetchPast(stage, family, PORTS.https);
        assert.equal(page.trim().split(" ").at(-1), nodeAddress(stage, family));
        pages.push(page.trim());
      }
      return `the server's own certificate: ${pages.join(", ")}`;
    },
  };
}

/** Fetches the page with the server's own certificate. */
async function fetchPast({ network: { client, server }, pki }: Stage, family: Family, port: number): Promise<string> {
  const name = `www.${DOMAIN}`;
  const target = server.address[family];
  const to = ["--resolve", `${name}:${port}:${family === 6 ? `[${target}]` : target}`, `https://${name}:${port}/`];
  return client.must("curl", ["-sS", "--fail", "-m", "20", "--cacert", pki.root.certificate, ...to]);
}

/** The node's address on the servers' side: the last of that family. */
function nodeAddress({ network: { node } }: Stage, family: Family): string | undefined {
  const own = node.addresses.filter((address) => address.includes(":") === (family === 6));
  return own.at(-1)?.split("/")[0];
}
