import type { Watch } from "../detect/starttls/dialogues.ts";
import { NetworkError } from "../errors.ts";
import type { ReceivedHello } from "../legs/stage.ts";
import type { TimedTls } from "../streams/conversation.ts";
import { type Layer, noteHello, noteVerdict, type RelayedConversation, type Story } from "./story.ts";
import { isDecrypt, resetBoth } from "./untreated.ts";

/** The part of a session's story in which TLS begins in a conversation without an agreement that was understood. */

export type FoundOutcome =
  | { readonly kind: "ended"; readonly reason: string }
  | { readonly kind: "tls"; readonly layer: Layer; readonly received: ReceivedHello };

/** Reads the ClientHello and goes on with it. TLS that can no longer be decrypted gets the verdict for that. */
export async function followFound(
  story: Story,
  before: Layer,
  conversation: RelayedConversation,
  found: TimedTls,
  { spoken }: Watch,
): Promise<FoundOutcome> {
  const { node, session } = story;
  const layer = layerBehind(before);
  const startTls = { protocol: spoken?.protocol ?? "unknown", outcome: "upgraded", at: found.at } as const;
  session.note({ protocol: "tls after an unknown dialogue", startTls });
  const tooLate = whyTooLate(found);
  const leave = async (as: Layer): Promise<FoundOutcome> => {
    return { kind: "ended", reason: await leaveUndecrypted(story, as, conversation, tooLate) };
  };
  if (found.hello === "server" || found.side === "server") return leave(layer);

  const { answer, client: bytes } = await node.streams.hello(layer.client, found.begun);
  if (answer?.kind !== "match")
    throw new NetworkError("The client left in the middle of its ClientHello", "ECONNRESET");
  const { hello } = answer.sight;
  if (found.begun.length === 0) {
    conversation.ends.hold();
    return { kind: "tls", layer, received: { hello, bytes } };
  }
  noteHello(session, hello, "tls after an unknown dialogue");
  const facts = { ...layer.facts, sni: hello.serverName ?? null, versions: hello.versions };
  return leave({ ...layer, facts });
}

/** What was said before cannot be repeated on another connection. */
function layerBehind(layer: Layer): Layer {
  return {
    ...layer,
    found: true,
    facts: { ...layer.facts, upgraded: true },
    async redial() {
      throw new NetworkError("Cannot connect again: the dialogue before TLS was not understood", "ECONNREFUSED");
    },
  };
}

function whyTooLate({ side, hello }: TimedTls): string {
  if (side === "server" && hello === "client") return "The server began TLS as its client";
  if (hello === "server") return "TLS was seen too late: its ServerHello came after a ClientHello that was not found";
  return "TLS was seen too late: the beginning of its ClientHello had passed";
}

/** Drop rules hold, then policy says what becomes of TLS that cannot be decrypted. */
export async function leaveUndecrypted(
  story: Story,
  { facts, client, server }: Layer,
  { ends, ending }: Pick<RelayedConversation, "ends" | "ending">,
  why: string,
): Promise<string> {
  const { node, session } = story;
  const soFar = node.policy.verdictSoFar({ ...facts, sni: facts.sni ?? null });
  const verdict = isDecrypt(soFar) ? node.policy.onUndecryptable(facts, why) : soFar;
  noteVerdict(session, verdict);
  if (verdict.action === "drop") return resetBoth({ client, server }, verdict);
  ends.resume(undefined);
  return (await ending).reason;
}
