import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import { hostname } from "node:os";
import { setImmediate } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { FACILITIES, type LogTarget } from "../../config/log-section.ts";
import { type Line, SEVERITIES, type Target } from "./line.ts";

type Options = Omit<Extract<LogTarget, { kind: "syslog" }>, "trust"> & {
  /** PEM. Undefined: the system's roots. */
  readonly trust: string | undefined;
};

/** What waits for a server that is slow or away. */
const MOST_LINES = 10_000;
const MOST_BYTES = 4 * 1024 * 1024;
/** Bytes in the socket above which the others wait. */
const PRESSURE = 256 * 1024;
/** The longest datagram over IPv4, with room for the headers. */
const LONGEST_DATAGRAM = 65_000;
/** ms between two attempts to connect: the first, the longest, and for one to succeed. */
const RETRY = { first: 500, longest: 60_000, timeout: 10_000 };
/** ms between two look-ups of a server's name. */
const LOOK_UP = 60_000;
/** ms for which the end of the process waits for the server. */
const CLOSE = 1_000;

/** Sends lines to a syslog server. Without a connection they wait, and those that find no room are left out. */
export function createSyslogTarget(options: Options): Target {
  return options.transport === "udp" ? new DatagramSender(options) : new StreamSender(options);
}

/** RFC 5424, section 6. The message is JSON, so it needs no structured data. */
export function syslogMessage(line: Line, facility: keyof typeof FACILITIES, now: number): string {
  const priority = FACILITIES[facility] * 8 + SEVERITIES[line.level];
  const id = line.json.includes('"ecs":{') ? "session" : "-";
  return `<${priority}>1 ${new Date(now).toISOString()} ${HOST} clearline ${process.pid} ${id} - ${line.json}`;
}

/** Printable ASCII, at most 255 characters. */
const HOST =
  hostname()
    .replaceAll(/[^\x21-\x7e]/g, "")
    .slice(0, 255) || "-";

/** RFC 5426: one message is one datagram. A name is looked up once a minute, not for each message. */
class DatagramSender implements Target {
  readonly name: string;
  readonly #options: Options;
  readonly #lookUps: NodeJS.Timeout;
  #way: { readonly socket: DatagramSocket; readonly address: string } | undefined;
  #dropped = 0;
  #underWay = 0;

  constructor(options: Options) {
    this.name = nameOf(options);
    this.#options = options;
    void this.#lookUp();
    this.#lookUps = setInterval(() => void this.#lookUp(), LOOK_UP).unref();
  }

  get dropped(): number {
    return this.#dropped;
  }

  take(line: Line): void {
    const { address, facility } = this.#options;
    const message = Buffer.from(syslogMessage(line, facility, Date.now()));
    if (!this.#way || message.length > LONGEST_DATAGRAM || this.#underWay >= MOST_LINES) {
      this.#dropped += 1;
      return;
    }
    this.#underWay += 1;
    this.#way.socket.send(message, address.port, this.#way.address, (error) => {
      this.#underWay -= 1;
      if (error) this.#dropped += 1;
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#lookUps);
    const late = performance.now() + CLOSE;
    while (this.#underWay > 0 && performance.now() < late) await setImmediate();
    this.#way?.socket.close();
    this.#way = undefined;
  }

  async #lookUp(): Promise<void> {
    const { host } = this.#options.address;
    try {
      const { address, family } = isIP(host) ? { address: host, family: isIP(host) } : await lookup(host);
      if (this.#way?.address === address) return;
      this.#way?.socket.close();
      const socket = createSocket(family === 6 ? "udp6" : "udp4").unref();
      socket.on("error", () => {});
      this.#way = { socket, address };
    } catch {
      // It is tried again. Meanwhile messages go where they went.
    }
  }
}

function nameOf({ address: { host, port } }: Options): string {
  return `syslog ${host}:${port}`;
}

/** RFC 6587, section 3.4.1, octet counting, over TCP or over TLS (RFC 5425). */
class StreamSender implements Target {
  readonly name: string;
  readonly #options: Options;
  #socket: Socket | undefined;
  #isConnected = false;
  #waiting: Buffer[] = [];
  #bytes = 0;
  #dropped = 0;
  #stopped: string | undefined;
  #pause = RETRY.first;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: Options) {
    this.name = nameOf(options);
    this.#options = options;
    this.#connect();
  }

  get dropped(): number {
    return this.#dropped;
  }

  get stopped(): string | undefined {
    return this.#stopped;
  }

  take(line: Line): void {
    const message = Buffer.from(syslogMessage(line, this.#options.facility, Date.now()));
    const frame = Buffer.concat([Buffer.from(`${message.length} `), message]);
    if (this.#waiting.length >= MOST_LINES || this.#bytes + frame.length > MOST_BYTES) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(frame);
    this.#bytes += frame.length;
    this.#send();
  }

  #send(): void {
    const socket = this.#socket;
    if (!socket || !this.#isConnected) return;
    while (this.#waiting.length > 0 && socket.writableLength < PRESSURE) {
      const frames = Buffer.concat(this.#waiting.splice(0, 256));
      this.#bytes -= frames.length;
      socket.write(frames);
    }
  }

  #connect(): void {
    const { transport, trust, address } = this.#options;
    const { host, port } = address;
    const socket =
      transport === "tls"
        ? connectTls({
            host,
            port,
            ...(trust !== undefined && { ca: trust }),
            ...(isIP(host) === 0 && { servername: host }),
          })
        : connect({ host, port });
    this.#socket = socket;
    socket.setTimeout(RETRY.timeout, () => this.#isConnected || socket.destroy());
    socket.once(transport === "tls" ? "secureConnect" : "connect", () => {
      this.#isConnected = true;
      this.#stopped = undefined;
      this.#pause = RETRY.first;
      socket.setKeepAlive(true, 30_000);
      this.#send();
    });
    socket.on("drain", () => this.#send());
    // A server that says anything, or ends its half, is read: otherwise its end would not be noticed.
    socket.resume().once("end", () => socket.destroy());
    socket.on("error", ({ message }) => {
      this.#stopped = message;
    });
    socket.once("close", () => this.#reconnectLater());
    socket.unref();
  }

  #reconnectLater(): void {
    this.#stopped ??= this.#isConnected ? "the server closed the connection" : "the server does not answer";
    this.#isConnected = false;
    this.#socket = undefined;
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => this.#connect(), this.#pause).unref();
    this.#pause = Math.min(this.#pause * 2, RETRY.longest);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    const socket = this.#socket;
    if (!socket || !this.#isConnected) return void socket?.destroy();
    this.#send();
    await new Promise<void>((resolve) => {
      setTimeout(resolve, CLOSE).unref();
      socket.end(() => resolve());
    });
    socket.destroy();
  }
}
