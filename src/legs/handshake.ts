import type { End } from "../engine/end.ts";
import type { Agreed, Layer, LayerFailure, Told } from "../engine/layer.ts";
import { until } from "../engine/wait.ts";
import { NetworkError } from "../errors.ts";
import { nameVersion, type Side } from "../vocabulary.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import { groupByOpenssl } from "../wire/groups.ts";
import type { LegFailure, Negotiated } from "./leg.ts";

/** A layer that came up, and whether the peer asked for a certificate on the way. */
export interface Shaken {
  readonly kind: "up";
  readonly certificateRequested: boolean;
}

/** Shakes hands with a peer on the layer that its end has. The end stays open when that fails. `timeout` in ms. */
export async function shakeHands(peer: Side, end: End, layer: Layer, timeout: number): Promise<Shaken | LegFailure> {
  let certificateRequested = false;
  try {
    const outcome = await until(
      [end],
      () => {
        for (;;) {
          const step = layer.handshake();
          if (step === "waiting") return undefined;
          // The node has no certificate to show: it goes on without, as the client would have to.
          if (step !== "certificate wanted") return step;
          certificateRequested = true;
        }
      },
      { timeout, late: `The ${peer} did not finish the handshake in ${timeout} ms` },
    );
    if (outcome === "up") return { kind: "up", certificateRequested };
    const told = layer.told();
    return { ...explain(peer, outcome, told?.finished), ...toldOf(told), certificateRequested };
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const cause = error.code === "ETIMEDOUT" ? "timeout" : "network";
    const alert = cause === "timeout" ? ALERTS.internal_error : ALERTS.handshake_failure;
    const { code, message } = error;
    return { kind: "failed", cause, alert, code, ...toldOf(layer.told()), certificateRequested, reason: message };
  }
}

function toldOf(told: Told | undefined): Pick<LegFailure, "told"> {
  return told ? { told: negotiatedOf(told) } : {};
}

/**
 * Names a failed handshake with `peer`: who refused, and the alert that carries the reason across. `finished`: the node has sent its
 * Finished, with which the handshake of a client in TLS 1.3 is complete.
 */
export function explain(peer: Side, failure: LayerFailure, finished = false): LegFailure {
  const { cause, alert, code } = failure;
  return { kind: "failed", cause, alert, code, reason: reasonOf(peer, failure, finished) };
}

function reasonOf(peer: Side, { cause, alert, code, detail }: LayerFailure, finished: boolean): string {
  if (cause === "alert") return `The ${peer} refused the handshake: ${nameAlert(alert)}`;
  if (cause === "protocol") return `The handshake with the ${peer} failed: ${detail ?? code}`;
  const left = `The ${peer} ${code === "EOF" ? "closed" : "reset"}`;
  if (finished) return `${left} the connection right after the node's Finished, without its own`;
  return `${left} the connection during the handshake`;
}

/** What an OpenSSL layer agreed on, in IANA's names. */
export function negotiatedOf({ version, suite, group, alpn, resumed }: Agreed): Negotiated {
  return {
    version: nameVersion(version),
    suite,
    group: group === undefined ? undefined : (groupByOpenssl(group)?.name ?? group),
    alpn,
    resumed,
  };
}
