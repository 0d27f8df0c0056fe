import manifest from "../../package.json" with { type: "json" };
import type { AuthorityInfo, FleetSessions } from "../control/api.ts";
import type { Operations } from "../control/operations.ts";
import { searchSessions } from "../control/session-search.ts";
import { ConfigError } from "../errors.ts";
import { log } from "../log.ts";
import { recordCertificate } from "../pki/x509/certificate-record.ts";
import { serialNumberOf } from "../pki/x509/fingerprint.ts";
import { order } from "../policy/explain.ts";
import { createBypassOperations } from "./bypass-operations.ts";
import { flushCaches, listCaches } from "./caches.ts";
import { explainFlow } from "./explain.ts";
import { lookAtHealth } from "./health.ts";
import { createKeyOperations } from "./key-operations.ts";
import { listSuggestions } from "./pinning.ts";
import { previewPolicy } from "./preview.ts";
import type { NodeState } from "./state.ts";
import { gatherStatistics } from "./statistics.ts";

/**
 * What the API asks of the node, answered from its state. `reload` reads the configuration file again; `reloadKeys` only takes
 * the keys that were added or removed, so that a mistake in the file does not prevent it.
 */
export function createOperations(
  state: NodeState,
  {
    reload,
    reloadKeys,
    renewed,
  }: {
    readonly reload: Operations["reload"];
    readonly reloadKeys: () => Promise<unknown>;
    /** The CAs have changed. */
    readonly renewed: () => Promise<unknown>;
  },
): Operations {
  return {
    version: manifest.version,
    startedAt: state.startedAt,
    sessions: state.sessions,
    history: state.history,
    audit: state.audit,
    subscribe(listener) {
      state.subscribers.add(listener);
      return () => state.subscribers.delete(listener);
    },
    statistics: () => gatherStatistics(state),
    explain: (query) => explainFlow(state, query),
    policyOrder: () => order(state.active.policy),
    authorities: () => authorityInfos(state),
    authorityPem(role, keyType) {
      const listed = state.authorities.list().some((one) => one.role === role && one.keyType === keyType);
      return listed ? state.authorities.find(role, keyType).certificatePem : undefined;
    },
    async renewAuthority(role) {
      const authorities = await renewAuthority(state, role);
      await renewed();
      return authorities;
    },
    ...createKeyOperations(state, reloadKeys),
    ...createBypassOperations(state),
    previewPolicy: (request) => previewPolicy(state, request),
    caches: async () => listCaches(state),
    flushCaches: (name) => flushCaches(state, name),
    suggestions: () => listSuggestions(state, Date.now()),
    health: () => lookAtHealth(state),
    fleetSessions: (...search) => searchFleet(state, ...search),
    reload,
  };
}

function authorityInfos({ authorities }: NodeState): AuthorityInfo[] {
  return authorities.list().map(({ role, keyType, certificate, sha256, notBefore, notAfter, given }) => ({
    role,
    keyType,
    subject: recordCertificate(certificate).subject,
    serial: serialNumberOf(certificate),
    sha256,
    notBefore,
    notAfter,
    origin: given ? "given" : "made",
  }));
}

/** What the old keys signed is not presented again. */
async function renewAuthority(state: NodeState, role: AuthorityInfo["role"]): Promise<AuthorityInfo[]> {
  await state.authorities.renew(role, Date.now());
  state.mint.flush();
  state.workers.tell({ kind: "flush", cache: "issued" });
  const authorities = authorityInfos(state);
  for (const { keyType, sha256 } of authorities.filter((one) => one.role === role)) {
    const made = `Made a new ${role} CA, which replaces the one before`;
    log.info({ keyType, sha256 }, made);
    state.webhooks.tell("ca.made", made, { role, keyType, sha256 });
  }
  return authorities;
}

async function searchFleet(
  state: NodeState,
  ...[query, live, limit]: Parameters<Operations["fleetSessions"]>
): Promise<FleetSessions> {
  const { fleet } = state.sharing;
  if (!fleet) {
    throw new ConfigError(
      "resumption.shared",
      "Cannot search the fleet: resumption.shared is not set, so this node shares nothing with others",
    );
  }
  const { name, since } = fleet.self;
  const own = { name, since, answered: true, ...searchSessions(state, query, live, limit) };
  const others = (await fleet.ask({ query, live, limit })).map(({ node, answer }) => ({
    name: node.name,
    since: node.since,
    answered: answer !== undefined,
    sessions: answer?.sessions ?? [],
    more: answer?.more ?? false,
    foundByCertificate: answer?.foundByCertificate ?? [],
  }));
  return { nodes: [own, ...others] };
}
