import type { Exchange } from "../detect/exchange.ts";
import type { End, Replaced } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { wholeOf } from "./reading.ts";

/** The connections on which a client goes on. */
export interface GoingOn {
  readonly client: End;
  /** The one to its server, if that can go on too. */
  readonly server: End | undefined;
}

/** ms that tools have to end a connection whose client has gone on to another server. */
const LINGER = 1_000;

/**
 * Plain HTTP/1.x on two ends that a relay connects: this decides how far each side's bytes may pass. Heads are read, and bodies pass
 * by their length alone.
 */
export class RequestConversation {
  readonly #exchange: Exchange;
  readonly #ends: Readonly<Record<Side, End>>;
  readonly #gap: number;
  readonly #leaving = Promise.withResolvers<"elsewhere">();
  /** Called once both sides have left HTTP, before their next bytes pass. */
  onThrough: (() => void) | undefined;
  /** The client's bytes wait for an answer of the server's. */
  #isWaiting = false;
  #late: NodeJS.Timeout | undefined;
  /** performance.now() by which the client must have ended the head that it has begun; undefined: it has begun none. */
  #headDue: number | undefined;

  /** `answering` is the end that the client's relay connects it to. `gap`: ms between two bytes of an unfinished head. */
  constructor(exchange: Exchange, client: End, answering: End, gap: number) {
    this.#exchange = exchange;
    this.#ends = { client, server: answering };
    this.#gap = gap;
    // The relay may be over before anybody asks.
    this.#leaving.promise.catch(() => {});
    for (const side of ["client", "server"] as const) {
      const end = this.#ends[side];
      end.gate = (bytes, isLast) => this.#pass(side, bytes, isLast);
      end.isUnmarked = true;
      end.onUngated = () => this.#passed(side);
    }
    client.onceClosed(() => clearTimeout(this.#late));
  }

  /**
   * Resolves once the client's next request is another session's, and all before it have been answered. Rejects with NetworkError
   * when the client broke HTTP, or was late.
   */
  left(): Promise<"elsewhere"> {
    return this.#leaving.promise;
  }

  /**
   * The client goes on with the request that was not for this session; undefined: it has been told that nothing more comes. `isDirect`:
   * no tools are between the peers, which are to see how their connection ends. `keepsServer`: the server's connection goes on too.
   */
  leave({ isDirect, keepsServer }: { readonly isDirect: boolean; readonly keepsServer: boolean }): GoingOn | undefined {
    const { client, server } = this.#ends;
    clearTimeout(this.#late);
    for (const end of [client, server]) open(end);
    const goesOn = client.isOpen && !client.hasEnded;
    const fresh = goesOn
      ? {
          client: client.detach(),
          server: keepsServer && server.isOpen && !server.hasLeft ? server.detach() : undefined,
        }
      : undefined;
    if (!goesOn) client.close();
    if (isDirect) server.close();
    else {
      const late = setTimeout(() => server.close(), LINGER);
      server.onceClosed(() => clearTimeout(late));
    }
    return fresh;
  }

  /** Answers how many of the bytes pass now. */
  #pass(side: Side, bytes: Buffer, isLast: boolean): number | Replaced {
    const end = this.#ends[side];
    for (let passed = 0; ; ) {
      // A head is replaced only where the bytes begin with it.
      if (passed > 0 && (passed === bytes.length || this.#exchange.mayReplace(side))) return passed;
      const step = this.#exchange.next(side, bytes.subarray(passed));
      if (side === "client") this.#watchHead(step.kind === "more" && !isLast);
      switch (step.kind) {
        case "pass": {
          const here = Math.min(step.length, bytes.length - passed);
          passed += here;
          end.ungated = step.length - here;
          if (end.ungated === 0) this.#passed(side);
          break;
        }
        case "replace":
          end.ungated = step.length;
          return { drop: step.drop, by: step.by };
        case "more":
          if (!isLast) return passed;
          // Some servers take the end of the connection for the end of a head: it is refused like any other bad one.
          if (side === "server" || !this.#exchange.breakOff(bytes.subarray(passed))) return bytes.length;
          break;
        case "through":
          for (const one of Object.values(this.#ends)) open(one);
          this.onThrough?.();
          return bytes.length;
        default:
          end.held = "reads";
          this.#isWaiting = step.kind === "wait";
          if (step.kind === "leave") this.#leaving.resolve("elsewhere");
          if (step.kind === "malformed") this.#leaving.reject(new NetworkError(step.message, "EPROTO"));
          return passed;
      }
    }
  }

  #passed(side: Side): void {
    this.#exchange.passed(side);
    if (side === "client" || !this.#isWaiting) return;
    this.#isWaiting = false;
    open(this.#ends.client, this.#ends.client.gate);
  }

  /** A client must end a head that it has begun: in as long a time as it had for its first one. */
  #watchHead(isOpen: boolean): void {
    clearTimeout(this.#late);
    if (!isOpen || !this.#exchange.isHeadOpen) {
      this.#headDue = undefined;
      return;
    }
    const now = performance.now();
    this.#headDue ??= now + wholeOf(this.#gap);
    const late = () =>
      this.#leaving.reject(new NetworkError("The client began a request and did not end it in time", "ETIMEDOUT"));
    this.#late = setTimeout(late, Math.min(this.#gap, this.#headDue - now));
  }
}

/** Goes on reading; without a gate to the end. */
function open(end: End, gate?: End["gate"]): void {
  end.held = "nothing";
  end.gate = gate;
  if (!gate) {
    end.ungated = 0;
    end.isUnmarked = false;
  }
  if (end.relay) end.loop.enqueue(end.relay);
}
