import assert from "node:assert/strict";
import { test } from "node:test";
import { NetworkError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createContextCache } from "./contexts.ts";
import type { LegFailure } from "./leg.ts";
import { createLegStage, type LegMemory } from "./stage.ts";
import { readAll, tcpPair } from "./test-pairs.ts";

const nothing = { find: async () => undefined, put: () => {}, forget: () => {} };
const MEMORY = {
  contexts: createContextCache(10),
  sessions: { clients: nothing, servers: nothing },
  tickets: { keys: [], hits: 0, misses: 0 },
} as unknown as LegMemory;
const stage = createLegStage(
  {
    ...{ versions: { min: "SSLv3", max: "TLSv1.3" }, handshake: 1_000, staple: false },
    resumption: {
      ...{ identifiers: false, tickets: false, servers: false, shareServers: false },
      ...{ timeout: 1_000, generation: "1" },
    },
  },
  MEMORY,
  undefined,
);

function hello(...versions: number[]): ClientHello {
  const nothingElse = { cipherSuites: [], supportedGroups: [], signatureAlgorithms: [], alpnProtocols: [] };
  return { versions, ...nothingElse } as unknown as ClientHello;
}

for (const [client, versions, bytes] of [
  ["A client of TLS", [VERSIONS["TLSv1.2"], VERSIONS.SSLv3], [21, 3, 3, 0, 2, 2, ALERTS.unknown_ca]],
  ["A client of SSL 3.0 alone", [VERSIONS.SSLv3], [21, 3, 0, 0, 2, 2, ALERTS.certificate_unknown]],
] as const) {
  test(`${client} is refused with a record and an alert of its own version, and then closed`, async (t) => {
    const [near, far] = await tcpPair(t);
    stage.refuse(far, ALERTS.unknown_ca, hello(...versions));
    assert.deepEqual([...(await readAll(near))], bytes);
  });
}

/** Whether a server that failed so demands a certificate, and whether it was dialled to find out. */
async function ask(failure: Partial<LegFailure>): Promise<{ demands: boolean; dialled: boolean }> {
  let dialled = false;
  const redial = async () => {
    dialled = true;
    throw new NetworkError("Cannot connect", "ECONNREFUSED");
  };
  const whole = { kind: "failed", cause: "alert", alert: ALERTS.handshake_failure, code: "", reason: "" } as const;
  const demands = await stage.demandsCertificate({ ...whole, ...failure }, redial, hello(VERSIONS["TLSv1.2"]));
  return { demands, dialled };
}

test("A server's alert certificate_required says that it demands a client certificate", async () => {
  assert.deepEqual(await ask({ alert: ALERTS.certificate_required }), { demands: true, dialled: false });
});

test("After another alert, or an end of the connection, the server is asked on a new connection", async () => {
  for (const failure of [{}, { cause: "network" }] as const) {
    assert.deepEqual(await ask(failure), { demands: false, dialled: true });
  }
});

test("A server that speaks another version, says nothing, or was refused by this node is not asked", async () => {
  for (const failure of [{ alert: ALERTS.protocol_version }, { cause: "timeout" }, { cause: "protocol" }] as const) {
    assert.deepEqual(await ask(failure), { demands: false, dialled: false });
  }
});
