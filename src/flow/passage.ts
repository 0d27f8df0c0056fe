import type { Socket } from "node:net";
import type { Verdict } from "../policy/facts.ts";
import type { Peer } from "../streams/conversation.ts";
import type { RelayEnd, RelayEnding } from "../streams/relay.ts";
import type { Chain, ChainFailure } from "../tools/chain.ts";
import type { Carried, SessionHandle } from "./stages.ts";
import type { Story } from "./story.ts";

/** Two peers between whom bytes pass as they are, and what was read from each already. */
export interface Passage {
  readonly client: Peer;
  readonly server: Peer;
  /** What the client said already. */
  readonly head?: Buffer;
  /** What the server said already. */
  readonly greeting?: Buffer;
}

/** What is bypassed is the peers' ciphertext. */
export function bypassed({ tools }: Verdict): Pick<Carried, "flow" | "description" | "tools"> {
  return { flow: "bypassed", description: "bypassed", tools };
}

/** Bytes as they are. */
export function pass(story: Story, { client, server, head, greeting }: Passage, about: Carried): Promise<string> {
  return enterAndJoin(story, { ...client, head }, { ...server, head: greeting }, about);
}

/** Bytes as they are that were plaintext all along. */
export function passPlaintext(story: Story, passage: Passage, about: Omit<Carried, "flow">): Promise<string> {
  noteUndecided(story.session);
  return pass(story, passage, { ...about, flow: "notTls" });
}

async function enterAndJoin(story: Story, client: RelayEnd, server: RelayEnd, about: Carried): Promise<string> {
  const chain = await enterTools(story, about);
  if (chain.kind === "failed") return cut(client.socket, chain.reason);
  return (await join(story, client, chain, server, about)).reason;
}

/** Ta and Tb: the session's way through the inline tools. */
export async function enterTools(story: Story, about: Carried): Promise<Chain | ChainFailure> {
  const chain = await story.node.tools(story.session, about);
  if (chain.kind === "ready") story.chain = chain;
  return chain;
}

/** Bytes between two ends, through the tools and past the feeds. */
export async function join(
  { node, session }: Story,
  client: RelayEnd,
  { hops }: Chain,
  server: RelayEnd,
  about: Carried,
): Promise<RelayEnding> {
  const taps = node.tap(session, about);
  const parting = await node.relay(client, hops, server, session.meter, taps.taps);
  taps.close();
  session.note({ clientLeft: parting.clientLeft, serverLeft: parting.serverLeft });
  return parting;
}

/** A tool that must not be left out has failed: nothing may pass. */
export function cut(client: Socket, reason: string): string {
  client.resetAndDestroy();
  return reason;
}

/** A rule may have leant to decrypt before it was known that there is nothing to decrypt. */
export function noteUndecided(session: SessionHandle): void {
  session.note({ verdict: null, phase: null, rule: null, reason: "Not TLS: carried unchanged" });
}
