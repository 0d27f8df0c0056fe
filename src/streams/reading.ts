import type { Socket } from "node:net";
import { InvariantError, NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";

/** What was read while `judge` still wanted more. The bytes are the flow's beginning and belong to whoever takes it over. */
export interface Reading<T> {
  /** Undefined: a side ended its stream before there was an answer. */
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

/** A peer that sends a byte just before each gap ends would hold its place forever: the whole may take this many gaps. */
const GAPS = 20;
/** No opening is longer, in bytes of one side: the readers end far below. */
const LONGEST = 0x40000;

/**
 * Gives what arrives on paused sockets to `judge`, in order, until it answers. The sockets are left paused, in the
 * state that a relay or a TLS leg takes over. What `judge` throws is thrown; a reset or a timeout is a NetworkError.
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
        if (length[side] > LONGEST)
          return failed(new InvariantError(`Nobody said what ${LONGEST} bytes of a ${side} are`));
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
            ? error // ours: the node itself ended the connection
            : new NetworkError(`The ${side} reset its connection`, error.code ?? "ECONNRESET", { cause: error }),
        ),
      );
    }
    return undefined;
  });
}
