import type { Verdict } from "../policy/facts.ts";

/** The verdict on a bypass for a host whose server did not show a certificate for it. `what` ends the sentence. */
export function unverified(what: string): Verdict {
  const reason = `The server was not verified: ${what}`;
  return { action: "drop", phase: "certificate", rule: "verifyBypass", reason, provisional: false };
}
