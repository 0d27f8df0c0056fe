import type { Arrival, Destination } from "../capture/arrival.ts";
import type { End } from "../engine/end.ts";
import type { RelayEnding } from "../engine/relay.ts";
import { NetworkError } from "../errors.ts";
import type { LegFailure, Negotiated } from "../legs/leg.ts";
import type { ReceivedHello } from "../legs/stage.ts";
import type { Facts, Verdict } from "../policy/facts.ts";
import type { Ending } from "../sessions/outcome.ts";
import type { LegAlerts, LegRecord } from "../sessions/record.ts";
import type { SessionUpdate } from "../sessions/session.ts";
import type { UpgradableConversation } from "../streams/conversation.ts";
import type { Chain } from "../tools/chain.ts";
import { type Endpoint, nameVersion, type Side } from "../vocabulary.ts";
import { nameAlert } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { fingerprints, ja3Text } from "../wire/fingerprint.ts";
import type { Node, SessionHandle } from "./stages.ts";

/** What every step of a session works with. */
export interface Story {
  readonly arrival: Arrival;
  readonly node: Node;
  readonly session: SessionHandle;
  /** The session's connections: the story closes those that are still open when it ends. */
  readonly connections: Set<End>;
  /** Those of them that lead to the client. */
  readonly clientConnections: Set<End>;
  /** A header of the PROXY protocol that every connection to the server must begin with; undefined: there is none. */
  header?: Buffer;
  /** What follows the session on its client's connection: a request for another host. */
  next?: Arrival;
  /** What ended the session, for its outcome; undefined: its verdict says it all. */
  ending?: Ending | undefined;
  /** The alert that refused the client before it had TLS with the node. */
  refusal?: number;
  /** The client left while the node was busy with the server: nothing more is begun for it. */
  clientLeft?: "closed" | "reset";
  /** Why the overloaded node should not decrypt this session; null: it may be decrypted; undefined: it was not asked yet. */
  overload?: string | null;
  /** The handshakes of its TLS have begun. */
  isDecrypting?: true;
  /** Ends this client's turn for a handshake; undefined: none is under way. */
  endTurn?: (() => void) | undefined;
  /** What the server asked for and did not get: a part of a sentence. */
  asked?: string;
  /** The session's way through the inline tools, once it is connected. */
  chain?: Chain;
  /** The plaintext conversation that the session began with, or found in its TLS; undefined: there was none. */
  conversation?: RelayedConversation;
}

/** A conversation that begins in plaintext and may be upgraded to TLS. One relay carries it from its first byte to its last. */
export interface RelayedConversation {
  readonly ends: UpgradableConversation;
  /** How its relay ended. */
  readonly ending: Promise<RelayEnding>;
  readonly chain: Chain;
}

/** Two peers that may speak TLS: on TCP, in a proxy's tunnel, or inside the TLS that leads to the proxy. */
export interface Layer {
  readonly client: End;
  readonly server: End;
  readonly endpoint: Endpoint;
  readonly facts: Facts;
  readonly destination: Destination;
  /**
   * Opens another connection to the server and brings it to where this layer begins: it dials, and repeats what was said
   * before. Throws NetworkError.
   */
  redial(): Promise<End>;
  /** The protocol whose dialogue led to this layer; undefined: none did. */
  readonly protocol?: string | undefined;
  /** How many proxies' tunnels this layer is in. */
  readonly tunnels: number;
  /** This layer follows a CONNECT, not a STARTTLS: the client may ask for another tunnel in it. */
  readonly afterConnect: boolean;
  /**
   * TLS began after a dialogue that was not understood, or without an agreement that was: it cannot be repeated, so nothing is
   * bypassed once the node has spoken TLS with the server.
   */
  readonly found?: true;
}

/** A layer whose client has sent its ClientHello. */
export interface TlsLayer extends Layer {
  readonly received: ReceivedHello;
  /** The key of this server in `node.servers`. */
  readonly serverKey: string;
  /** Monitor mode: the session's own connection to the server. The node looks at the server on the other one. */
  readonly kept?: End;
}

/** Refuses a client that has no TLS with the node yet, or began it badly, with a fatal alert. */
export function refuseClient(story: Story, client: End, alert: number, hello?: ClientHello): void {
  if (!client.isOpen || client.isLeaving) return;
  story.refusal = story.node.legs.refuse(client, alert, hello);
}

/** The last alerts of each leg. */
export function alertsOf({ connections, clientConnections, refusal }: Story): LegAlerts {
  const alerts: LegAlerts = {};
  for (const connection of connections) {
    const { layer } = connection;
    if (!layer) continue;
    const { alertReceived: received, alertSent: sent } = layer;
    alerts[clientConnections.has(connection) ? "client" : "server"] = {
      ...(received !== undefined && { alertReceived: nameAlert(received) }),
      ...(sent !== undefined && { alertSent: nameAlert(sent) }),
    };
  }
  if (refusal !== undefined) alerts.client = { ...alerts.client, alertSent: nameAlert(refusal) };
  return alerts;
}

/** Dials the layer's server again. The story closes the connection at its end. */
export async function redial(story: Story, layer: Layer): Promise<End> {
  mustHaveClient(story);
  const fresh = await layer.redial().catch((error: unknown) => {
    if (!(error instanceof NetworkError)) throw error;
    throw new NetworkError(error.message, error.code, { cause: error, side: "server" });
  });
  story.connections.add(fresh);
  mustHaveClient(story);
  return fresh;
}

/** A leg that did not come up ends the session: by the alert that says why, or by what became of the connection. */
export function noteFailedLeg(story: Story, side: Side, { cause, alert, code }: LegFailure): void {
  const said = cause === "alert" || cause === "protocol";
  story.ending = { by: side, code: said ? nameAlert(alert) : code };
}

const LEFT = { closed: "closed the connection", reset: "reset the connection" } as const;

/** Throws NetworkError when the client has left. */
export function mustHaveClient({ clientLeft }: Story): void {
  if (clientLeft)
    throw new NetworkError(`The client ${LEFT[clientLeft]} during the handshake with the server`, "ELEFT", {
      side: "client",
    });
}

/** The host that the client means, by name or address; undefined: it does not say. */
export function hostOf(hello: ClientHello, { connectHost }: Destination): string | undefined {
  return hello.serverName ?? hello.serverAddress ?? connectHost ?? undefined;
}

/** `facts`: what policy knows of it, for an explanation later. One note, because each makes another record. */
export function noteHello(
  session: SessionHandle,
  hello: ClientHello,
  protocol: SessionUpdate["protocol"] & string,
  facts?: Facts,
): void {
  session.noteDetails(() => ({ ja3Text: ja3Text(hello), clientAlpns: hello.alpnProtocols }));
  const said = { protocol, sni: hello.serverName ?? null, ech: hello.ech ?? null, ...fingerprints(hello) };
  session.note(facts ? { ...said, facts: kept(facts) } : said);
}

export function legRecord({ version, suite, group, alpn, resumed }: Negotiated): LegRecord {
  return { version, suite, ...(group !== undefined && { group }), alpn: alpn ?? null, resumed, received: 0, sent: 0 };
}

function kept(facts: Facts): SessionUpdate["facts"] & object {
  return {
    upgraded: facts.upgraded === true,
    // A name may be any bytes (RFC 7301, section 3.1), so also a comma.
    alpn: facts.alpn?.map(encodeName).join(",") ?? "",
    versions: facts.versions?.map(nameVersion).join(",") ?? "",
    keyHeld: facts.keyHeld === true,
    clientCertificateDemanded: facts.clientCertificateDemanded === true,
    channelBound: facts.channelBound === true,
    certificateRefused: facts.certificateRefused === true,
  };
}

function encodeName(name: string): string {
  return name.replaceAll("%", "%25").replaceAll(",", "%2C");
}

export function noteVerdict(session: SessionHandle, { action, phase, rule, reason, instead }: Verdict): void {
  const without = instead && {
    monitored: { verdict: instead.action, phase: instead.phase, rule: instead.rule, reason: instead.reason },
  };
  session.note({ verdict: action, phase, rule, reason, ...without });
}

/**
 * The key of a server in `node.servers`. The name alone would not do: another service of the host may have other demands, and a client
 * that names somebody else's host to its own server must not have that host bypassed for everybody.
 */
export function serverKeyOf(host: string, { address, port }: Endpoint): string {
  return `${host} at ${address} port ${port}`;
}
