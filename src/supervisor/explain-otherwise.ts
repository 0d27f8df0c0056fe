import type { Config } from "../config/schema.ts";
import type { Policy } from "../policy/evaluate.ts";
import type { KnownFacts } from "../policy/view.ts";

/** What becomes of the flow if it is not TLS from its first byte, or if its TLS cannot be decrypted: one sentence each. */
export function otherwise(
  { policy: config }: Config,
  policy: Policy,
  facts: KnownFacts,
  port: number | undefined,
): string[] {
  const notTls = policy.onNotTls(facts);
  const undecryptable = policy.onUndecryptable(facts, "");
  return [
    `Not TLS: ${notTls ? `dropped by ${notTls.rule}` : "passes unchanged"}`,
    `TLS that the node cannot decrypt: ${undecryptable.action} by ${undecryptable.rule}`,
    ...(port === undefined ? [] : [behindPlaintext(config.startTls, port, undecryptable.action)]),
  ];
}

/** The most ports that can be watched. */
const MOST = 20;

function behindPlaintext({ enabled, ports }: Config["policy"]["startTls"], port: number, action: string): string {
  if (enabled && ports.includes(port))
    return `TLS behind plaintext: found and decrypted, because policy.startTls watches port ${port}`;
  const remedy = enabled
    ? `policy.startTls.ports must have ${port}${ports.length < MOST ? "" : ` instead of one of its ${MOST} ports`}`
    : `policy.startTls must be enabled, and its ports must have ${port}`;
  return `TLS behind plaintext: ${action}, because port ${port} is not watched. To decrypt it, ${remedy}`;
}
