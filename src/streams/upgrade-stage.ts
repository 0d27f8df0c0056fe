import type { Socket } from "node:net";
import type { Agreement } from "../detect/starttls/dialogue.ts";
import { asksProxy, openWatch, type Watch } from "../detect/starttls/dialogues.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { openTunnel, openUpgradableConversation, type Peer, type UpgradableConversation } from "./conversation.ts";
import { readUntil } from "./reading.ts";
import { replayDialogue } from "./replay-dialogue.ts";

/** Plaintext that may become TLS: STARTTLS, and CONNECT seen on the wire. */
export interface UpgradeStage {
  /**
   * What to watch for in a conversation with a server at this port whose client has sent these bytes; undefined: there is
   * nothing to watch for.
   */
  watch(port: number, received: Buffer): Watch | undefined;
  /** The same for the inside of a TLS session, before anything was said there. */
  watchInside(): Watch | undefined;
  open(client: Peer, server: Peer, watch: Watch): UpgradableConversation;
  /** A peer whose stream is TLS, for a second TLS session to be spoken inside of it. */
  tunnel(peer: Peer): Peer;
  /** Repeats the dialogue on a new connection until this server agrees to TLS too. Throws NetworkError when it does not. */
  replay(socket: Socket, agreement: Agreement): Promise<void>;
  /** Reads the first bytes inside of TLS until it is clear whether the client asks a proxy for something. */
  peek(client: Socket, server: Socket): Promise<Peek>;
}

export interface Peek {
  readonly asksProxy: boolean;
  /** The bytes that were read. */
  readonly client: Buffer;
  readonly server: Buffer;
  /** The error of a stream that broke before any bytes came. */
  readonly failure: NodeJS.ErrnoException | undefined;
}

export interface UpgradeSettings {
  readonly startTls: { readonly enabled: boolean; readonly ports: readonly number[] };
  /** In ms. */
  readonly timeouts: { readonly hello: number; readonly handshake: number; readonly idle: number };
}

export function createUpgradeStage({ startTls: { enabled, ports }, timeouts }: UpgradeSettings): UpgradeStage {
  return {
    watch(port, received) {
      const startTls = ports.includes(port);
      return enabled && (startTls || asksProxy(received)) ? openWatch({ startTls, received }) : undefined;
    },
    watchInside: () => (enabled ? openWatch({ startTls: false }) : undefined),
    open: openUpgradableConversation,
    tunnel: openTunnel,
    replay: (socket, agreement) => replayDialogue(socket, agreement, timeouts.handshake),
    peek: (client, server) => peek(client, server, { silence: timeouts.idle, gap: timeouts.hello }),
  };
}

async function peek(client: Socket, server: Socket, timing: { silence: number; gap: number }): Promise<Peek> {
  let received = Buffer.alloc(0);
  const judge = (side: Side, bytes: Buffer) => {
    if (side === "server") return { asks: false };
    received = Buffer.concat([received, bytes]);
    const asks = asksProxy(received);
    return asks === "more" ? undefined : { asks };
  };
  try {
    const { answer, ...read } = await readUntil({ client, server }, judge, timing);
    return { ...read, asksProxy: answer?.asks ?? false, failure: undefined };
  } catch (error) {
    if (!(error instanceof NetworkError) || error.code === "ETIMEDOUT") throw error;
    const failure = error.cause instanceof Error ? error.cause : error;
    return { asksProxy: false, client: Buffer.alloc(0), server: Buffer.alloc(0), failure };
  }
}
