import type { ServerLeg } from "../legs/leg.ts";
import type { ServerMemory } from "./stages.ts";
import type { Story } from "./story.ts";

/** The part of a session's story in which a server asks for a client certificate, which only the client has, and goes on without. */

/**
 * Learns that this server asks: in the handshake, without insisting, or after it, for one folder say. This session goes on without a
 * certificate; the next one gets the verdict of policy.clientCertificate.
 */
export function noticeDemands(story: Story, leg: ServerLeg, serverKey: string): void {
  const { askingCertificate, demandingCertificate } = story.node.servers;
  const learn = (memory: ServerMemory, when: string) => {
    memory.learn(serverKey);
    const later = memory.has(serverKey) ? ": policy.clientCertificate holds for its next sessions" : "";
    story.asked = `the server asked for a client certificate ${when}, which only the client has${later}`;
  };
  if (leg.certificateRequested) learn(askingCertificate, "without insisting");
  leg.onAskedLate?.(() => learn(demandingCertificate, "after the handshake"));
}

/** Why the session is over, with what its server asked for. */
export function withDemand({ asked }: Story, reason: string): string {
  return asked === undefined ? reason : `${reason}; ${asked}`;
}
