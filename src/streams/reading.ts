import type { Socket } from "node:net";
import { InvariantError, NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";

/** The first bytes of a flow, up to the answer. The next owner of the flow has to send them on. */
export interface Reading<T> {
  /** Undefined: a side ended its stream before an answer was possible. */
  readonly answer: T | undefined;
  readonly client: Buffer;
  readonly server: Buffer;
}

/** How long to wait for bytes that decide something. */
export interface Timing {
  /** ms without any byte before the first. */
  readonly silence: number;
  /** ms between two bytes of something unfinished. */
  readonly gap: number;
}

/** All bytes together may take this many gaps. Otherwise a peer that sends a byte just before each gap ends could go on forever. */
const GAPS = 20;
/** The most bytes of one side. Every reader answers long before. */
const MAX_BYTES = 0x40000;

/**
 * Reads from paused sockets and gives the bytes to `judge`, in order, until it answers. The sockets are left paused, as a
 * relay or a TLS leg needs them. Throws what `judge` throws, and NetworkError after a reset or a timeout.
 */
export function readUntil<T>(
  sockets: { readonly client: Socket; readonly server?: Socket },
  judge: (side: Side, bytes: Buffer) => T | undefined,
  timing: Timing,
): Promise<Reading<T>> {
  const read: Record<Side, Buffer[]> = { client: [], server: [] };
  const length: Record<Side, number> = { client: 0, server: 0 };
  const sides: [Side, Socket][] = [["client", sockets.client]];
  if (sockets.server) sides.push(["server", sockets.server]);

  return new Promise((resolve, reject) => {
    const undo: (() => void)[] = [];
    const listen = (socket: Socket, event: string, listener: (error: NodeJS.ErrnoException) => void) => {
      socket.on(event, listener);
      undo.push(() => socket.off(event, listener));
    };
    const settle = (conclude: () => void) => {
      clearTimeout(gap);
      clearTimeout(whole);
      for (const step of undo) step();
      conclude();
    };
    const answered = (answer: T | undefined) =>
      settle(() => resolve({ answer, client: Buffer.concat(read.client), server: Buffer.concat(read.server) }));
    const failed = (error: unknown) => settle(() => reject(error));
    const expired = () =>
      failed(
        read.client.length === 0
          ? new NetworkError("The client sent nothing in time", "ETIMEDOUT")
          : new NetworkError("The client began and then sent nothing more in time", "ETIMEDOUT"),
      );
    let gap = setTimeout(expired, timing.silence);
    let whole: NodeJS.Timeout | undefined;

    const onReadable = (side: Side, socket: Socket) => {
      for (let bytes: Buffer | null = socket.read(); bytes !== null; bytes = socket.read()) {
        read[side].push(bytes);
        length[side] += bytes.length;
        if (length[side] > MAX_BYTES)
          return failed(new InvariantError(`No reader answered after ${MAX_BYTES} bytes of the ${side}`));
        let answer: T | undefined;
        try {
          answer = judge(side, bytes);
        } catch (error) {
          return failed(error);
        }
        if (answer !== undefined) return answered(answer);
        if (whole === undefined) {
          whole = setTimeout(expired, timing.gap * GAPS);
          clearTimeout(gap);
          gap = setTimeout(expired, timing.gap);
        } else gap.refresh();
      }
      return undefined;
    };
    const gone = sides.find(([, socket]) => socket.destroyed);
    if (gone) return failed(new NetworkError(`The ${gone[0]}'s connection closed`, "ECONNRESET"));
    for (const [side, socket] of sides) {
      listen(socket, "readable", () => onReadable(side, socket));
      listen(socket, "end", () => answered(undefined));
      listen(socket, "close", () => failed(new NetworkError(`The ${side}'s connection closed`, "ECONNRESET")));
      listen(socket, "error", (error) =>
        failed(
          error instanceof NetworkError
            ? error // the node itself ended the connection
            : new NetworkError(`The ${side} reset its connection`, error.code ?? "ECONNRESET", { cause: error }),
        ),
      );
    }
    return undefined;
  });
}
