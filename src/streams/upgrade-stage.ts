import type { Agreement } from "../detect/starttls/dialogue.ts";
import { asksProxy, openWatch, type Watch } from "../detect/starttls/dialogues.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { UpgradableConversation } from "./conversation.ts";
import { readUntil } from "./reading.ts";
import { replayDialogue } from "./replay-dialogue.ts";

/** Plaintext that may become TLS: STARTTLS, and CONNECT seen on the wire. */
export interface UpgradeStage {
  /**
   * What to watch for in a conversation with a server at this port whose client began with these bytes; undefined: there is
   * nothing to watch for.
   */
  watch(port: number, begun: Buffer): Watch | undefined;
  /** The same in a tunnel that a proxy has made: TLS is looked for there whatever is said. `mayTunnel`: another tunnel too. */
  watchTunnel(port: number, begun: Buffer, mayTunnel: boolean): Watch;
  /** The same for the inside of a TLS session, before anything was said there. */
  watchInside(): Watch | undefined;
  /**
   * Before a relay carries the two ends: it decides how far their conversation may pass. `strict`: what is not on the way to TLS does
   * not pass.
   */
  open(client: End, server: End, watch: Watch, strict: boolean): UpgradableConversation;
  /** The same where nobody waits for TLS: it is told, and no byte waits for it. `toTheEnd`: not only among the first bytes. */
  look(client: End, server: End, toTheEnd: boolean): UpgradableConversation;
  /** Repeats the dialogue on a new connection until this server agrees to TLS too. Throws NetworkError when it does not. */
  replay(server: End, agreement: Agreement): Promise<void>;
  /**
   * Whether the client asks a proxy for something inside of its TLS. The bytes stay with their ends; an end that has broken
   * will say so to its relay.
   */
  peek(client: End, server: End): Promise<boolean>;
}

export interface UpgradeSettings {
  readonly startTls: { readonly enabled: boolean; readonly ports: readonly number[] };
  /** In ms. */
  readonly timeouts: { readonly hello: number; readonly handshake: number; readonly idle: number };
}

/** Bytes of both sides together that are looked at where nobody waits for TLS. After them the kernel may move the others. */
const LOOKED_AT = 64 * 1024;

export function createUpgradeStage({ startTls: { enabled, ports }, timeouts }: UpgradeSettings): UpgradeStage {
  return {
    watch(port, begun) {
      const startTls = ports.includes(port);
      return enabled && (startTls || asksProxy(begun)) ? openWatch({ startTls, received: begun }) : undefined;
    },
    watchTunnel: (port, begun, mayTunnel) =>
      openWatch({ startTls: mayTunnel && ports.includes(port), received: begun, connect: mayTunnel }),
    watchInside: () => (enabled ? openWatch({ startTls: false }) : undefined),
    open: (client, server, watch, strict) =>
      new UpgradableConversation({ client, server }, watch, { patience: timeouts.hello, strict }),
    look(client, server, toTheEnd) {
      const watch = openWatch({ startTls: false, connect: false });
      const limit = toTheEnd ? Number.POSITIVE_INFINITY : LOOKED_AT;
      return new UpgradableConversation({ client, server }, watch, { patience: undefined, strict: false, limit });
    },
    replay: (server, agreement) => replayDialogue(server, agreement, timeouts.handshake),
    peek: (client, server) => peek(client, server, { silence: timeouts.idle, gap: timeouts.hello }),
  };
}

async function peek(client: End, server: End, timing: { silence: number; gap: number }): Promise<boolean> {
  let begun = Buffer.alloc(0);
  const judge = (side: Side, bytes: Buffer) => {
    if (side === "server") return { asks: false };
    begun = Buffer.concat([begun, bytes]);
    const asks = asksProxy(begun);
    return asks === "more" ? undefined : { asks };
  };
  try {
    const { answer } = await readUntil({ client, server }, judge, timing);
    return answer?.asks ?? false;
  } catch (error) {
    // A relay that begins now would not know that a tool has failed.
    if (!(error instanceof NetworkError) || error.code === "ETIMEDOUT" || error.code === "ETOOL") throw error;
    return false;
  }
}
