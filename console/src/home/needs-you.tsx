import { useSignal } from "@preact/signals";
import type { AuthorityInfo, KeyInfo, Stats, SuggestionInfo, TroubleList } from "../../../src/control/api.ts";
import { may } from "../api.ts";
import { number } from "../format.ts";
import { BypassDialog } from "../parts/bypass-dialog.tsx";
import { Outcome } from "../parts/marks.tsx";
import { Answer, Empty, Panel } from "../parts/panels.tsx";
import { now, Time } from "../parts/time.tsx";
import type { Resource } from "../resource.ts";
import { T } from "../texts.ts";

/** What an operator should look at: failures, and parts of the node that are not well, each with what to do. */

const N = T.notices;
const SOON = 30 * 86_400_000;

/** Something about the node itself. */
export interface Notice {
  readonly what: string;
  readonly remedy: string;
  readonly href: string;
}

export function noticesOf(
  stats: Stats,
  authorities: readonly AuthorityInfo[],
  keys: readonly KeyInfo[],
): readonly Notice[] {
  // The rows of the limits say the same with numbers.
  const isOfLimit = (reason: string) => stats.limits.met.some(({ limit }) => reason.includes(limit));
  const health = stats.health.reasons
    .filter(({ fact, reason }) => fact !== "overload" || !isOfLimit(reason))
    .map(({ reason, remedy }) => ({ what: reason, remedy, href: "/node" }));
  const isSaid = (fact: string) => stats.health.reasons.some((one) => one.fact === fact);
  const expiring = isSaid("authorities")
    ? []
    : authorities
        .filter(({ notAfter }) => notAfter < now.value + SOON)
        .map(({ role, keyType }) => ({
          what: N.authority(role, keyType),
          remedy: N.authorityRemedy,
          href: "/certificates",
        }));
  const old = isSaid("keys")
    ? []
    : keys
        .filter(({ state }) => state === "expired" || state === "expires soon")
        .map(({ hosts, state }) => ({
          what: N.key(hosts[0]!, state === "expired"),
          remedy: N.keyRemedy,
          href: "/certificates",
        }));
  return [...health, ...ofConfiguration(stats), ...ofLimits(stats), ...expiring, ...old];
}

/** A reload that failed, and a policy that allows what it should not. */
function ofConfiguration({ reload, versions }: Stats): readonly Notice[] {
  const failed = reload && !reload.ok;
  return [
    ...(failed ? [{ what: N.reload(reload.error ?? ""), remedy: N.reloadRemedy, href: "/node" }] : []),
    ...(versions.min === "SSLv3" ? [{ what: N.ssl3, remedy: N.ssl3Remedy, href: "/policy" }] : []),
  ];
}

/** Limits that were met since the node's start. */
function ofLimits({ limits }: Stats): readonly Notice[] {
  return limits.met.map(({ limit, refused, evicted }) => ({
    what: N.limit(limit, number(refused), number(evicted)),
    remedy: N.limitRemedy,
    href: "/node",
  }));
}

interface Props {
  readonly troubles: Resource<TroubleList>;
  readonly notices: readonly Notice[];
  readonly suggestions: readonly SuggestionInfo[];
}

export function NeedsYou({ troubles, notices, suggestions }: Props) {
  const bypassed = useSignal<string | undefined>(undefined);
  return (
    <Panel title={T.home.needsYou} call="/trouble" command="clearline trouble">
      <Answer of={troubles}>
        {({ troubles: rows }) => (
          <>
            {rows.length + notices.length === 0 && <Empty>{T.home.allWell}</Empty>}
            <ul class="needs">
              {notices.map(({ what, remedy, href }) => (
                <li key={what}>
                  <span class="mark outcome-nodeFailed">{N.node}</span>
                  <p>
                    <b>{what}</b> {remedy}
                  </p>
                  <span class="acts">
                    <a class="button small" href={href}>
                      {T.trouble.show}
                    </a>
                  </span>
                </li>
              ))}
              {rows.map(({ host, outcome, cause, sessions, clients, last, example, remedy }) => {
                const evidence = suggestions.filter((one) => one.host === host).length;
                return (
                  <li key={`${host} ${outcome} ${cause}`}>
                    <Outcome outcome={outcome} isShort />
                    <p>
                      <b>{host}</b> {cause && <code>{cause}</code>} {T.trouble.times(number(sessions))} ·{" "}
                      {T.trouble.clients(clients)} · <Time at={last} as="distance" />
                      {evidence > 0 && ` · ${T.trouble.suggested}`}
                      <br />
                      <span class="remedy">{remedy}</span>
                    </p>
                    <span class="acts">
                      <a class="button small" href={`/sessions/${example}`}>
                        {T.trouble.why}
                      </a>
                      <button
                        type="button"
                        class="small"
                        disabled={!may("operator")}
                        title={may("operator") ? "" : T.noRight("operator")}
                        onClick={() => {
                          bypassed.value = host;
                        }}
                      >
                        {T.trouble.bypass}
                      </button>
                      <a class="button small" href={`/?q=${encodeURIComponent(`host:${host} outcome:${outcome}`)}`}>
                        {T.trouble.show}
                      </a>
                    </span>
                  </li>
                );
              })}
            </ul>
          </>
        )}
      </Answer>
      {bypassed.value !== undefined && (
        <BypassDialog
          entry={bypassed.value}
          onClose={() => {
            bypassed.value = undefined;
          }}
        />
      )}
    </Panel>
  );
}
