import type { Feed } from "../feeds/feed.ts";
import { alpnLimit, keyTaker, openTaps } from "../feeds/taps.ts";
import type { Node, ServerMemories, ServerMemory } from "../flow/stages.ts";
import { createLegStage } from "../legs/stage.ts";
import type { WorkerSetup } from "../messages.ts";
import { createKeystore } from "../pki/keys/keystore.ts";
import { createRevocationChecker } from "../pki/revocation/revocation.ts";
import { createFetch } from "../pki/revocation/revocation-fetch.ts";
import { createStapler } from "../pki/revocation/stapler.ts";
import { createPkiStage, type PkiStage } from "../pki/stage.ts";
import { createIssuerFetch } from "../pki/verify/issuer-fetch.ts";
import { createJudge } from "../pki/verify/judge.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import { createKnownServers } from "../policy/known-servers.ts";
import { monitor } from "../policy/monitor.ts";
import { refusalKey } from "../policy/refusals.ts";
import { ownerOf } from "../sessions/owner.ts";
import { createCaStage } from "../streams/ca-stage.ts";
import { createPageStage, type PageStage } from "../streams/page-stage.ts";
import { createRequestStage } from "../streams/request-stage.ts";
import { createStreamStage } from "../streams/stage.ts";
import { createUpgradeStage } from "../streams/upgrade-stage.ts";
import type { ToolStage } from "../tools/chain.ts";
import { withLists } from "./list-tables.ts";
import { createReachStage, fetchSettings, type OwnPlaces, openPlaces } from "./reach-stage.ts";
import { createSessionStage } from "./session-stage.ts";
import type { WorkerState } from "./state.ts";

/** Makes the node that carries the sessions which begin under this setup. `state` is what outlives a setup. */
export function composeNode(
  setup: WorkerSetup,
  feeds: readonly Feed[],
  tools: ToolStage,
  state: Omit<WorkerState, "node" | "setup">,
): Node {
  const { config } = setup;
  const policy = withLists(setup, state.listTables);
  const compiled = compilePolicy(policy, state.bypasses);
  const { timeouts } = config;
  const { admission } = state;
  const places = openPlaces(setup.reach.places);
  const hasReturnPorts = config.tools.some((tool) => tool.kind === "proxy" && tool.header === "sslproxy");
  const legSettings = {
    versions: policy.versions,
    dhBits: config.limits.dhBits,
    handshake: timeouts.handshake,
    staple: config.policy.revocation.ocsp !== "off",
    seesHello: feeds.some(({ takeSession }) => takeSession !== undefined),
    resumption: { ...config.resumption, generation: setup.resumption.generation },
  };
  return {
    sessions: createSessionStage(state, () => admission.isOver),
    turns: {
      async take(client) {
        const end = await state.turns.take(ownerOf(client), handshakesFor(setup), timeouts.handshake);
        await state.overload.begin();
        return end;
      },
    },
    overload: state.overload,
    streams: createStreamStage(timeouts, admission.keep),
    policy: policy.monitor ? monitor(compiled) : compiled,
    reach: createReachStage(setup.reach, places, hasReturnPorts ? state.returns.awaitsPort : undefined),
    servers: serverMemories(setup, state),
    requests: createRequestStage(config),
    upgrades: createUpgradeStage({ startTls: config.policy.startTls, timeouts }),
    legs: createLegStage(legSettings, state, keyTaker(feeds)),
    pki: pkiStage(setup, state, places),
    pages: pageStage(setup),
    ca: createCaStage(config.signing.downloadHost, () => state.offered),
    tools,
    feeds: { tap: (session) => openTaps(feeds, session, Date.now()), onlyAlpn: alpnLimit(feeds, config.feeds) },
  };
}

function pageStage({ config: { policy, limits }, pageTemplate: template }: WorkerSetup): PageStage | undefined {
  return policy.page && createPageStage({ ...policy.page, template, limits });
}

/** The worker's share of what one client may have. */
function handshakesFor({ config: { limits }, workers }: WorkerSetup): number {
  return Math.ceil(limits.perClient.handshakes / workers);
}

type PkiState = Pick<WorkerState, "issued" | "trust" | "verified" | "revocation">;

function pkiStage(
  { config, keys, policy: { versions } }: WorkerSetup,
  { issued, trust, verified, revocation: cache }: PkiState,
  places: OwnPlaces,
): PkiStage {
  const { revocation } = config.policy;
  const fetch = createFetch(fetchSettings(revocation, places));
  const asks = revocation.ocsp !== "off" || revocation.crl !== "off";
  const asked = asks ? createRevocationChecker(revocation, cache, fetch) : undefined;
  const fetchIssuers = createIssuerFetch({ cache, fetch, clock: Date.now });
  const completing = config.trust.fetchIntermediates ? { fetch: fetchIssuers, timeout: revocation.timeout } : undefined;
  const keystore = createKeystore(keys);
  const verifyChain = (ders: readonly Buffer[], now: number) => trust.verify(ders, now);
  const judge = createJudge({ keystore, verifyChain, verified, revocation: asked, issuers: completing });
  const stapler = createStapler({ cache, fetch, clock: Date.now }, verifyChain, revocation.timeout);
  return createPkiStage({ keystore, judge, issued, stapler, versions });
}

/** ms for which a server's offer of TLS is remembered. */
const OFFERING = 7 * 86_400_000;

/** ms for which a server that was verified for a bypass is believed, and how many are remembered. */
const VERIFIED = 600_000;
const MOST_VERIFIED = 10_000;

/** What this worker learns about servers, the supervisor tells the others. */
function serverMemories(
  { config: { policy } }: WorkerSetup,
  {
    demanding,
    binding,
    offering,
    pinning,
    tell,
  }: Pick<WorkerState, "demanding" | "binding" | "offering" | "pinning" | "tell">,
): ServerMemories {
  const { action, optional, for: time } = policy.clientCertificate;
  // Of this setup alone: the roots may change with the next.
  const verified = createKnownServers(MOST_VERIFIED);
  const demandingCertificate: ServerMemory = {
    has: (server) => demanding.has(server, Date.now()),
    learn(server) {
      const until = Date.now() + time;
      demanding.learn(server, until);
      void tell({ kind: "demanding", server, until });
    },
  };
  return {
    demandingCertificate,
    askingCertificate: {
      has: demandingCertificate.has,
      learn(server) {
        if (action === "bypass" && optional === "bypass") demandingCertificate.learn(server);
      },
    },
    bindingLogin: {
      has: (server) => binding.has(server, Date.now()),
      learn(server) {
        // Every log-in tells of it: the others are told once.
        if (binding.has(server, Date.now())) return;
        const until = Date.now() + policy.channelBinding.for;
        binding.learn(server, until);
        void tell({ kind: "binding", server, until });
      },
    },
    verified: {
      has: (server) => verified.has(server, Date.now()),
      learn: (server) => verified.learn(server, Date.now() + VERIFIED),
    },
    refusesCertificate: (client, host, port) =>
      policy.learn !== undefined && pinning.has(refusalKey(client, host, port), Date.now()),
    offeringTls: {
      has: (server) => offering.has(server, Date.now()),
      learn(server) {
        // Servers offer TLS in every session: the other workers are told once.
        if (offering.has(server, Date.now())) return;
        const until = Date.now() + OFFERING;
        offering.learn(server, until);
        void tell({ kind: "offering", server, until });
      },
    },
  };
}
