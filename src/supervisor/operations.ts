import { X509Certificate } from "node:crypto";
import manifest from "../../package.json" with { type: "json" };
import { textOf } from "../config/formats.ts";
import { listenerPlace } from "../config/listener.ts";
import type { AuthorityInfo, CacheInfo, ExplainQuery, ToolInfo } from "../control/api.ts";
import type { Operations } from "../control/operations.ts";
import { searchSessions } from "../control/session-search.ts";
import { ConfigError } from "../errors.ts";
import { readListenerCounts } from "../kernel/listeners.ts";
import { readStrangers } from "../kernel/tools.ts";
import type { CacheName } from "../messages.ts";
import { verifyServer } from "../pki/verify/verify.ts";
import { recordCertificate } from "../pki/x509/certificate-record.ts";
import { createRootSet } from "../pki/x509/chain.ts";
import { explain, order } from "../policy/explain.ts";
import { createKeyOperations } from "./key-operations.ts";
import { isShared } from "./sharing.ts";
import type { NodeState } from "./state.ts";

/**
 * What the API asks of the supervisor, answered from the node's state. `reload` takes the configuration file anew, `reloadKeys`
 * only the keys that were added or removed: a mistake in the file is not in their way.
 */
export function createOperations(
  state: NodeState,
  { reload, reloadKeys }: { readonly reload: Operations["reload"]; readonly reloadKeys: () => Promise<unknown> },
): Operations {
  return {
    version: manifest.version,
    startedAt: state.startedAt,
    sessions: state.sessions,
    history: state.history,
    subscribe(listener) {
      state.subscribers.add(listener);
      return () => state.subscribers.delete(listener);
    },
    statistics: async () => ({
      workers: state.workers.list().map(({ status, ...worker }) => ({
        ...worker,
        sessions: status?.sessions ?? 0,
        ...(status && { memory: status.memory, cpu: status.cpu }),
      })),
      listeners: state.running.loaded.config.listeners.map((listener) => ({
        name: listener.name,
        mode: listener.mode,
        address: listener.mode === "inline" ? listenerPlace(listener) : textOf(listener.address),
      })),
      mint: mintInfo(state),
      feeds: feedInfos(state),
      tools: await toolInfos(state),
      kernel: await readListenerCounts(state.inline),
      store: state.sharing.fleet?.state(),
    }),
    explain: (query) => explain(state.running.policy, factsOf(state, query)),
    policyOrder: () => order(state.running.policy),
    authorities: () => authorityInfos(state),
    authorityPem(role, keyType) {
      const listed = state.authorities.list().some((one) => one.role === role && one.keyType === keyType);
      return listed ? state.authorities.find(role, keyType).certificatePem : undefined;
    },
    async renewAuthority(role) {
      await state.authorities.renew(role, Date.now());
      state.mint.flush();
      state.workers.tell({ kind: "flush", cache: "issued" });
      return authorityInfos(state);
    },
    ...createKeyOperations(state, reloadKeys),
    caches: async () => cacheInfos(state),
    async flushCaches(name) {
      const names = cacheInfos(state).map((cache) => cache.name);
      if (name !== undefined && !names.includes(name)) return false;
      for (const one of name === undefined ? names : [name]) {
        forget(state, one as CacheName | "mint");
        if (isShared(one)) await state.sharing.flush(one);
      }
      return true;
    },
    store: () => state.sharing.fleet?.state(),
    async fleetSessions(query, live, limit) {
      const { fleet } = state.sharing;
      if (!fleet) {
        throw new ConfigError("resumption.shared", "Cannot ask the fleet: resumption.shared names no store");
      }
      const own = { ...fleet.self, answered: true, ...searchSessions(state, query, live, limit) };
      const others = (await fleet.ask({ query, live, limit })).map(({ node, answer }) => ({
        ...node,
        answered: answer !== undefined,
        sessions: answer?.sessions ?? [],
        more: answer?.more ?? false,
      }));
      return {
        nodes: [own, ...others].map(({ name, since, answered, sessions, more }) => ({
          name,
          since,
          answered,
          sessions,
          more,
        })),
      };
    },
    reload,
  };
}

/** Empties a cache in the supervisor and all workers. What workers find through the supervisor is emptied by `sharing`. */
export function forget({ mint, demanding, workers }: NodeState, name: CacheName | "mint"): void {
  if (name === "mint") mint.flush();
  if (name === "demanding") demanding.flush();
  // What the mint forgot must not live on in the workers.
  workers.tell({ kind: "flush", cache: name === "mint" ? "issued" : name });
}

/** Everything that the question says; what it does not say is not known. Throws ConfigError. */
function factsOf({ running }: NodeState, { host, client, server, listener, certificatePem }: ExplainQuery) {
  const { listeners } = running.loaded.config;
  if (listener !== undefined && !listeners.some(({ name }) => name === listener)) {
    const names = listeners.map(({ name }) => name).join(", ");
    throw new ConfigError("listener", `Cannot explain: there is no listener ${listener}; there are ${names}`);
  }
  // An explicit proxy's sessions begin with CONNECT: their hosts are judged in the certificate phase.
  const asked = listener === undefined ? listeners : listeners.filter(({ name }) => name === listener);
  const upgraded = asked.every(({ mode }) => mode === "explicit");
  const target = server === undefined ? undefined : endpoint(server);
  const keyHeld = running.keystore.find(host, target?.address ?? "").length > 0;
  const certificate = certificatePem === undefined ? undefined : certificateFacts(running, certificatePem, host);
  return {
    ...(listener !== undefined && { listener }),
    ...(client !== undefined && { client: { address: client, port: 0 } }),
    ...(target && { server: target }),
    // A key may be held for the host or for the address.
    ...((keyHeld || (host !== undefined && target)) && { keyHeld }),
    ...(host !== undefined && { sni: host, connectHost: upgraded ? host : null }),
    upgraded,
    ...(certificate && { certificate }),
  };
}

function certificateFacts({ trust, loaded }: NodeState["running"], pem: string, host: string | undefined) {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(pem);
  } catch (error) {
    throw new ConfigError("certificatePem", "Cannot explain: the file holds no certificate in PEM", { cause: error });
  }
  const { names, issuer } = recordCertificate(leaf);
  // Without the server there is no chain: whether its issuer is trusted is only known when the certificate is self-signed.
  const code = leaf.checkIssued(leaf) ? "DEPTH_ZERO_SELF_SIGNED_CERT" : undefined;
  const { faults } = verifyServer({ leaf, code, host, roots: createRootSet(trust.roots), now: Date.now() });
  const { ocsp, crl } = loaded.config.policy.revocation;
  // A dry run asks nobody.
  const revocationOpen = ocsp !== "off" || crl !== "off";
  return { names, issuer, faults: faults.map(({ fault }) => fault), revocationOpen };
}

/** "10.0.0.5:443" or "[2001:db8::1]:443"; the API has checked the form. */
function endpoint(text: string): { address: string; port: number } {
  const at = text.lastIndexOf(":");
  return { address: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
}

function authorityInfos({ authorities }: NodeState): AuthorityInfo[] {
  return authorities.list().map(({ role, keyType, certificate, sha256, notBefore, notAfter, given }) => ({
    role,
    keyType,
    subject: recordCertificate(certificate).subject,
    serial: certificate.serialNumber.toLowerCase(),
    sha256,
    notBefore,
    notAfter,
    origin: given ? "given" : "made",
  }));
}

function mintInfo({ mint }: NodeState) {
  const { minted, hits, entries } = mint.counters();
  return { minted, hits, size: entries };
}

function cacheInfos(state: NodeState): CacheInfo[] {
  const { minted, hits, size } = mintInfo(state);
  const { sharing, running } = state;
  const { sessions } = running.loaded.config.resumption;
  const own = { name: "sessions", size: sharing.size, limit: sessions };
  const keys = { name: "tickets", size: sharing.ticketKeys.length, limit: 2 };
  const sums = new Map<string, CacheInfo>([own, keys].map((info) => [info.name, { ...info, hits: 0, misses: 0 }]));
  for (const { status } of state.workers.list()) {
    for (const cache of status?.caches ?? []) {
      const sum = sums.get(cache.name);
      sums.set(cache.name, {
        name: cache.name,
        size: cache.size + (sum?.size ?? 0),
        limit: cache.limit + (sum?.limit ?? 0),
        hits: cache.hits + (sum?.hits ?? 0),
        misses: cache.misses + (sum?.misses ?? 0),
      });
    }
  }
  return [{ name: "mint", size, limit: 10_000, hits, misses: minted }, ...sums.values()];
}

/** A tool is open in every worker; its health is known in one place. */
async function toolInfos({ running, watch, workers }: NodeState): Promise<ToolInfo[]> {
  const parts = workers.list().flatMap(({ status }) => status?.tools ?? []);
  // The kernel's rules see them before any worker does.
  const dropped = await readStrangers(running.loaded.config.tools);
  return running.loaded.config.tools.map(({ name, kind, onFailure }) => {
    const own = parts.filter((part) => part.name === name);
    const { up = true, since = 0, reason } = watch.state(name) ?? {};
    return {
      name,
      kind,
      state: up ? "up" : "down",
      since,
      ...(reason !== undefined && { reason }),
      onFailure,
      sessions: own.reduce((sum, { sessions }) => sum + sessions, 0),
      strangers: own.reduce((sum, { strangers }) => sum + strangers, dropped.get(name) ?? 0),
    };
  });
}

/** A feed of the configuration is one in every worker. */
function feedInfos({ workers }: NodeState) {
  const all = workers.list().flatMap(({ status }) => status?.feeds ?? []);
  return [...Map.groupBy(all, ({ name }) => name).values()].map((parts) => {
    const [first] = parts;
    const stopped = parts.find(({ state }) => state === "stopped");
    const sum = (pick: "sessions" | "packets" | "bytes" | "dropped") =>
      parts.reduce((total, part) => total + part[pick], 0);
    return {
      name: first!.name,
      kind: first!.kind,
      state: stopped ? ("stopped" as const) : ("running" as const),
      ...(stopped && { reason: stopped.reason }),
      sessions: sum("sessions"),
      packets: sum("packets"),
      bytes: sum("bytes"),
      dropped: sum("dropped"),
    };
  });
}
