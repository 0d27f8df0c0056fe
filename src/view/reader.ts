import type { Side } from "../vocabulary.ts";
import { Http1, type Switch } from "./http1.ts";
import { Http2, PREFACE } from "./http2.ts";
import { type Listener, type Protocol, Unreadable } from "./messages.ts";
import { WebSocketReader } from "./websocket.ts";

export interface ReaderListener extends Listener {
  /** The rest of the session is not read. Told once. */
  onStop(why: string): void;
}

/** What the reader makes of the session: not known yet, HTTP, something else; "stopped": it is read no further. */
export type Reading = "detecting" | "http" | "other" | "stopped";

/** Reads one session: finds out what it speaks, and follows it through upgrades and tunnels. Never throws. */
export class SessionReader {
  readonly #listener: ReaderListener;
  #protocol: Protocol | undefined;
  #reading: Reading = "detecting";
  #begun: Buffer = Buffer.alloc(0);
  /** What the server sent before the client said anything: in HTTP/2 over TLS 1.3 it may be the first. */
  #early: Buffer = Buffer.alloc(0);
  #count = 0;
  #switches = 0;
  /** The exchange that became HTTP/2 (Upgrade: h2c). */
  #upgraded: number | undefined;
  /** Protocols that were closed, and may still tell something. */
  #closing: Promise<void>[] = [];

  constructor(listener: ReaderListener) {
    this.#listener = listener;
  }

  get reading(): Reading {
    return this.#reading;
  }

  /** About how many bytes it holds. */
  get weight(): number {
    return 1024 + this.#begun.length + this.#early.length + (this.#protocol?.weight ?? 0);
  }

  /** Resolves once everything that was pushed has been told; undefined: it has. */
  settled(): Promise<unknown> | undefined {
    return this.#protocol?.settled();
  }

  push(from: Side, bytes: Buffer): void {
    this.#guarded(() => {
      if (this.#reading === "detecting") this.#detect(from, bytes);
      else this.#protocol?.push(from, bytes);
    });
  }

  /** This side has half-closed. `isCut`: what it said may not be whole. */
  end(from: Side, isCut: boolean): void {
    this.#guarded(() => this.#protocol?.end(from, isCut));
  }

  /** Ends the reading before the session ends. */
  stop(why: string): void {
    if (this.#reading === "stopped") return;
    this.#reading = "stopped";
    this.#release();
    this.#listener.onStop(why);
  }

  /** The session is over. Resolves once everything has been told. */
  async close(): Promise<void> {
    this.#release();
    await Promise.all(this.#closing);
  }

  #release(): void {
    const protocol = this.#protocol;
    this.#protocol = undefined;
    this.#begun = this.#early = Buffer.alloc(0);
    if (protocol) this.#closing.push(protocol.close());
  }

  #guarded(act: () => void): void {
    if (this.#reading === "stopped" || this.#reading === "other") return;
    try {
      act();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      if (this.#count > 0 || !error.isForeign) this.stop(error.message);
      else {
        this.#reading = "other";
        this.#release();
      }
    }
  }

  /** HTTP begins with a request: with HTTP/2's preface, or with a method. */
  #detect(from: Side, bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (from === "server") {
      this.#early = Buffer.concat([this.#early, bytes]);
      if (!mayBeSettings(this.#early)) throw new Unreadable("the server speaks first", true);
      return;
    }
    this.#begun = Buffer.concat([this.#begun, bytes]);
    const begun = this.#begun;
    const compared = Math.min(begun.length, PREFACE.length);
    const isPreface = begun.subarray(0, compared).equals(PREFACE.subarray(0, compared));
    if (isPreface && compared < PREFACE.length) return;
    this.#begun = Buffer.alloc(0);
    this.#reading = "http";
    this.#protocol = isPreface ? this.#openHttp2() : this.#openHttp1();
    const early = this.#early;
    this.#early = Buffer.alloc(0);
    this.#protocol.push("client", begun);
    if (early.length > 0) this.push("server", early);
  }

  #openHttp1(): Http1 {
    return new Http1({
      listener: this.#listener,
      number: () => this.#number(),
      onSwitch: (found) => this.#switch(found),
    });
  }

  #openHttp2(): Http2 {
    return new Http2({
      listener: this.#listener,
      number: () => this.#number(),
      upgraded: this.#upgraded,
      openWebSocket: (exchange, extensions) => this.#openWebSocket(exchange, extensions),
    });
  }

  #openWebSocket(exchange: number, extensions: string | undefined): WebSocketReader {
    const onUnreadable = (why: Unreadable) => this.stop(why.message);
    return new WebSocketReader({ listener: this.#listener, exchange, extensions, onUnreadable });
  }

  #number(): number {
    this.#count += 1;
    return this.#count;
  }

  #switch({ exchange, protocol, extensions, client, server }: Switch): void {
    this.#release();
    if (protocol === "websocket") {
      this.#protocol = this.#openWebSocket(exchange, extensions);
    } else if (protocol === "h2c") {
      // The server goes on at once, before the client's preface may have come.
      this.#upgraded = exchange;
      this.#protocol = this.#openHttp2();
    } else if (protocol === "connect") {
      // The tunnel may hold anything, HTTP again among it.
      this.#listener.onComplete(exchange, "server");
      this.#reading = "detecting";
    } else {
      // What follows is a protocol that is not read.
      this.#listener.onComplete(exchange, "server");
      return;
    }
    // What is read here is deeper in the stack by one switch; a session that tunnels without end stops.
    this.#switches += 1;
    if (this.#switches > SWITCHES) throw new Unreadable(`more than ${SWITCHES} upgrades and tunnels`);
    if (client.length > 0) this.push("client", client);
    if (server.length > 0) this.push("server", server);
  }
}

/** The most bytes that a server of HTTP/2 sends before its client speaks. */
const EARLY = 16 * 1024;
/** The type, the flags and the stream of a SETTINGS frame. */
const SETTINGS = Buffer.from([4, 0, 0, 0, 0, 0]);

/** Whether a server that begins so may speak HTTP/2 (RFC 9113, section 3.4). */
function mayBeSettings(early: Buffer): boolean {
  const head = early.subarray(3, 3 + SETTINGS.length);
  return early.length <= EARLY && head.equals(SETTINGS.subarray(0, head.length));
}

/** The most upgrades and tunnels inside of each other. */
const SWITCHES = 8;
