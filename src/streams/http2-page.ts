import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { Duplex } from "node:stream";
import { setImmediate as written } from "node:timers/promises";
import type { End } from "../engine/end.ts";
import { farewell } from "../engine/farewell.ts";
import { END, NOTHING_NOW } from "../engine/layer.ts";
import { SCRATCH, type Task } from "../engine/loop.ts";

/** One answer over HTTP/2, for clients that speak nothing else. Node's own HTTP/2 reads and writes the frames. */

/** What the answer depends on. */
export interface Http2Request {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Http2Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** A client that asks has one stream and little memory, and is not answered twice. */
const SETTINGS = { maxConcurrentStreams: 1, maxHeaderListSize: 65_536, enablePush: false };
const BOUNDS = { maxSessionMemory: 1, maxHeaderListPairs: 200, maxOutstandingPings: 2, maxSettings: 16 };

/**
 * Waits `wait` ms for a request, answers it, and ends the connection. Undefined: the client asked for nothing, or broke the protocol.
 * Never rejects.
 */
export async function answerHttp2<Result>(
  client: End,
  wait: number,
  answer: (request: Http2Request) => { readonly answer: Http2Answer; readonly result: Result },
): Promise<Result | undefined> {
  const duplex = new EndDuplex(client);
  const session = performServerHandshake(duplex, { settings: SETTINGS, ...BOUNDS });
  const { promise, resolve } = Promise.withResolvers<Result | undefined>();
  // A session's "close" may wait for the client, which may never leave: nothing depends on it.
  const giveUp = () => resolve(undefined);
  // Once for the request, and as long for the answer to be taken.
  const late = setTimeout(giveUp, 2 * wait);
  const silent = setTimeout(giveUp, wait);
  for (const source of [session, duplex]) source.on("error", giveUp);
  session.once("close", giveUp);
  session.once("stream", (stream, headers) => {
    clearTimeout(silent);
    const { answer: written, result } = answer({ method: headers[":method"] ?? "", headers });
    send(session, stream, written, headers[":method"] === "HEAD");
    stream.once("close", () => resolve(result));
  });
  const result = await promise;
  clearTimeout(late);
  clearTimeout(silent);
  // It says GOAWAY: nothing more comes.
  if (!session.destroyed) session.close();
  await written();
  session.destroy();
  duplex.leave();
  void farewell(client, new Uint8Array());
  return result;
}

function send(
  session: ServerHttp2Session,
  stream: ServerHttp2Stream,
  { status, type, body, fields }: Http2Answer,
  isHead: boolean,
): void {
  stream.on("error", () => session.destroy());
  const named = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]));
  const headers = { ":status": status, "content-type": type, "content-length": Buffer.byteLength(body), ...named };
  stream.respond(
    { ...headers, "cache-control": "no-store", "x-content-type-options": "nosniff" },
    { endStream: isHead },
  );
  if (!isHead) stream.end(body);
  // A body that it still sends is of no use.
  stream.resume();
}

/** An end as a stream of Node's. */
class EndDuplex extends Duplex implements Task {
  queued = false;
  readonly #end: End;

  constructor(end: End) {
    super({ allowHalfOpen: true });
    this.#end = end;
    end.task = this;
  }

  run(): boolean {
    if (this.destroyed || this.#end.task !== this) return false;
    this.#end.flush();
    const { scratch, scratchAt } = this.#end.loop;
    for (;;) {
      const length = this.#end.read(scratchAt, SCRATCH);
      if (length === NOTHING_NOW) return false;
      if (length < 0) {
        if (length === END) this.push(null);
        else this.destroy();
        return false;
      }
      if (!this.push(Buffer.from(scratch.subarray(0, length)))) return false;
    }
  }

  fail(): void {
    this.destroy();
  }

  /** Others read and write the end from now on. */
  leave(): void {
    if (this.#end.task === this) this.#end.task = undefined;
    this.destroy();
  }

  override _read(): void {
    if (this.#end.task === this) this.#end.loop.enqueue(this);
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#end.writeBytes(bytes);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#end.task === this) this.#end.task = undefined;
    done(error);
  }
}
