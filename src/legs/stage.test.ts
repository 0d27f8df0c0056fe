import assert from "node:assert/strict";
import { test } from "node:test";
import { END } from "../engine/layer.ts";
import { endPair, readToEnd } from "../engine/test-ends.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createLegStage, type LegMemory } from "./stage.ts";
import { COMMON } from "./test-pairs.ts";

const nothing = { find: async () => undefined, put: () => {}, forget: () => {} };
const MEMORY = {
  ...COMMON,
  sessions: { clients: nothing, servers: nothing },
  tickets: { keys: [], hits: 0, misses: 0 },
} as unknown as LegMemory;
const stage = createLegStage(
  {
    ...{ versions: { min: "SSLv3", max: "TLSv1.3" }, dhBits: 4096, handshake: 1_000, staple: false, seesHello: false },
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
    const [near, far] = await endPair(t);
    stage.refuse(far, ALERTS.unknown_ca, hello(...versions));
    const told = await readToEnd(near);
    assert.deepEqual([[...told.bytes], told.last], [bytes, END]);
  });
}
