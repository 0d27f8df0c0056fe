import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import { ConfigError, InvariantError, NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { LOCAL_HEADER, type ProxyHeader, plainAddress, writeProxyHeader } from "../wire/proxy-protocol.ts";
import { createLineRemover, type LineRemover, writeSslproxyLine } from "../wire/sslproxy-line.ts";
import { type PortMap, toolPort } from "./ports.ts";
import { type Door, openDoor, readIntroduction } from "./return-door.ts";
import type { AwaitedReturn, ReturnsDirectory } from "./returns.ts";
import { createStrangers } from "./strangers.ts";
import type { Hop, Tool, ToolContext, ToolSettings, ToolSubject } from "./tool.ts";

/** A tool that is a TCP service: the node connects to it, and it connects back. */
export interface ProxyTool extends ToolSettings {
  readonly address: { readonly host: string; readonly port: number };
  readonly returnAddress: { readonly host: string; readonly port: number };
  /** The addresses that it connects back from; undefined: those of `address`. */
  readonly from?: readonly string[] | undefined;
  readonly header: "proxy-v2" | "sslproxy";
  readonly ports: PortMap;
}

const FOREIGN = "it is not from an address of the tool's";

/** How one session's bytes go to the tool and come back. */
interface Way {
  /** What goes to the tool in front of the session's bytes. Called once the tool has been reached. */
  begin(ta: Socket): Buffer;
  readonly returned: Promise<Socket>;
  readonly sieve: LineRemover | undefined;
  /** Nothing is awaited any more. */
  close(): void;
}

/** Throws ConfigError when the return address cannot be had. */
export async function openProxyTool(tool: ProxyTool, context: ToolContext): Promise<Tool> {
  const { name, address, returnAddress } = tool;
  const { timeout, workers, path } = context;
  const place = { ...returnAddress, path: `${path}.returnAddress` };
  const peers = new Set((tool.from ?? (await addressesOf(address.host))).map(plainAddress));
  const strangers = createStrangers(name, context.warn);
  const turnAway = (socket: Socket, from: string, why: string) => {
    strangers.add(from, why);
    socket.resetAndDestroy();
  };
  const welcome = async (socket: Socket, from: string) => {
    if (!peers.has(from)) return turnAway(socket, from, FOREIGN);
    try {
      const introduction = await readIntroduction(socket, timeout());
      if (!introduction) socket.end().destroySoon();
      else if (!(await context.returns.give(socket, introduction.rest, keysOf(name, introduction.header))))
        strangers.add(from, "it belongs to no session");
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      turnAway(socket, from, "it did not begin with a PROXY header");
    }
  };
  /** Every session has a port of its own: what comes back says nothing of whose it is. */
  const privateDoor = (accept: (socket: Socket) => void) =>
    openDoor({ ...place, port: 0, shared: false }, (socket, from) => {
      if (peers.has(from)) accept(socket);
      else turnAway(socket, from, FOREIGN);
    });

  // A port that cannot be had is told now, of both kinds.
  const door =
    tool.header === "sslproxy"
      ? await privateDoor(() => {})
      : await openDoor({ ...place, shared: workers > 1 }, (socket, from) => void welcome(socket, from));
  if (tool.header === "sslproxy") door.close();

  return {
    name,
    kind: "proxy",
    async connect(subject) {
      const told = { ...subject, server: { ...subject.server, port: toolPort(tool.ports, subject) } };
      for (const end of [told.client, told.server]) {
        if (isIP(end.address) === 0) throw new NetworkError("The session ended before its tools", "ECONNABORTED");
      }
      const way = tool.header === "sslproxy" ? await sslproxyWay(told, privateDoor) : proxyWay(name, told, context);
      try {
        const ta = await reach(tool, timeout());
        if (!tool.from) peers.add(plainAddress(ta.remoteAddress ?? address.host));
        const header = way.begin(ta);
        ta.write(header);
        const tb = awaitReturn(way, { name, ta, header: header.length, timeout: timeout() });
        return { tool: name, ta, tb, sieve: way.sieve } satisfies Hop;
      } catch (error) {
        way.close();
        throw error;
      }
    },
    counters: () => ({ strangers: strangers.count }),
    async close() {
      door.close();
    },
  };
}

/** What comes back is known by the session's identifier, or by addresses: tools that pass no unique ID tell one of these pairs. */
function proxyWay(name: string, { id, client, server, alpn, host }: ToolSubject, { returns }: ToolContext): Way {
  const { promise: returned, resolve } = Promise.withResolvers<Socket>();
  const awaited: AwaitedReturn = { take: resolve };
  const keys = [uniqueKey(name, id), pairKey(name, client, server)];
  returns.expect(awaited, keys);
  return {
    begin(ta) {
      const [near, tool] = [endOf(ta.localAddress, ta.localPort), endOf(ta.remoteAddress, ta.remotePort)];
      // One that tells of its own connection, and one that tells of the client but knows no other server than itself.
      const more = [pairKey(name, near, tool), pairKey(name, client, tool)];
      keys.push(...more);
      returns.expect(awaited, more);
      return writeProxyHeader({ source: client, destination: server, alpn, authority: host, uniqueId: id });
    },
    returned,
    sieve: undefined,
    close: () => returns.forget(awaited, keys),
  };
}

async function sslproxyWay(
  { client, server, flow }: ToolSubject,
  open: (accept: (socket: Socket) => void) => Promise<Door>,
): Promise<Way> {
  const { promise: returned, resolve } = Promise.withResolvers<Socket>();
  let sieve: LineRemover | undefined;
  const door = await open((socket) => {
    door.close();
    socket.pause();
    resolve(socket);
  }).catch((error: unknown) => {
    if (error instanceof ConfigError) throw new NetworkError(error.message, "EADDRNOTAVAIL", { cause: error });
    throw error;
  });
  return {
    begin(ta) {
      const everywhere = door.address === "0.0.0.0" || door.address === "::";
      const back = everywhere ? endOf(ta.localAddress, door.port) : door;
      const line = writeSslproxyLine({ back, client, server, decrypted: flow === "decrypted" });
      sieve = createLineRemover(line);
      return line;
    },
    returned,
    get sieve() {
      return sieve;
    },
    close: () => door.close(),
  };
}

/** Waits for the tool to connect back: without a limit until it was given something to look at, then for so long. */
function awaitReturn(
  way: Way,
  { name, ta, header, timeout }: { name: string; ta: Socket; header: number; timeout: number },
): Promise<Socket> {
  let over = false;
  void way.returned.then((socket) => {
    if (over) socket.destroy();
  });
  return new Promise((resolve, reject) => {
    let late: NodeJS.Timeout | undefined;
    const look = setInterval(
      () => {
        if (ta.bytesWritten <= header) return;
        clearInterval(look);
        late = setTimeout(
          () => fail(`The tool ${name} did not connect back in ${timeout / 1000} s`, "ETIMEDOUT"),
          timeout,
        );
      },
      Math.min(timeout, LOOK),
    );
    const settle = (conclude: () => void) => {
      if (over) return;
      clearInterval(look);
      clearTimeout(late);
      ta.off("close", onClose);
      way.close();
      conclude();
      over = true;
    };
    const fail = (message: string, code: string) => settle(() => reject(new NetworkError(message, code)));
    const onClose = () => fail(`The tool ${name} closed the connection and did not connect back`, "ECONNRESET");
    ta.once("close", onClose);
    void way.returned.then((socket) => settle(() => resolve(socket)));
  });
}

/** ms between two looks at whether the session has said something. */
const LOOK = 250;

/** Ta: paused, half-open capable. */
function reach({ name, address: { host, port } }: ProxyTool, timeout: number): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  return new Promise((resolve, reject) => {
    const fail = (code: string) => {
      clearTimeout(late);
      socket.destroy();
      reject(new NetworkError(`Cannot reach the tool ${name} at ${host} port ${port}: ${code}`, code));
    };
    // A process that was kept from running hears of its connection only after its timers.
    const late = setTimeout(() => setImmediate(() => socket.connecting && fail("ETIMEDOUT")), timeout);
    // From here on whoever relays hears of an error; in between it must not bring the process down.
    socket.on("error", ({ code }: NodeJS.ErrnoException) => fail(code ?? "ECONNREFUSED"));
    socket.once("connect", () => {
      clearTimeout(late);
      socket.pause();
      resolve(socket);
    });
  });
}

/** Connects to the tool with a header that says that nobody is behind it. Throws NetworkError. */
export async function probeProxyTool(
  tool: ProxyTool,
  timeout: number,
  office: Pick<ReturnsDirectory, "expectHeartbeat" | "forgetHeartbeat">,
): Promise<void> {
  const socket = await reach(tool, timeout);
  // Some tools connect back for it all the same; it is theirs to do.
  const keys = [
    pairKey(tool.name, endOf(socket.localAddress, socket.localPort), endOf(socket.remoteAddress, socket.remotePort)),
  ];
  office.expectHeartbeat(keys);
  setTimeout(() => office.forgetHeartbeat(keys), AFTERMATH).unref();
  socket.setTimeout(timeout, () => socket.destroy());
  socket.resume();
  if (tool.header === "sslproxy") socket.end();
  else socket.end(LOCAL_HEADER);
}

/** ms in which what a tool does about a heartbeat is known to be about it. */
const AFTERMATH = 10_000;

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host)) return [host];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    // It may be known later: each connection to it tells its address.
    return [];
  }
}

function keysOf(name: string, { uniqueId, source, destination }: ProxyHeader): string[] {
  const unique = uniqueId ? [uniqueKey(name, uniqueId.toString("latin1"))] : [];
  return source && destination ? [...unique, pairKey(name, source, destination)] : unique;
}

function uniqueKey(name: string, id: string): string {
  return `${name} ${id}`;
}

function pairKey(name: string, source: Endpoint, destination: Endpoint): string {
  return [name, ...[source, destination].flatMap(({ address, port }) => [plainAddress(address), port])].join(" ");
}

/** A connection that has just been there may be gone already. */
function endOf(address: string | undefined, port: number | undefined): Endpoint {
  return { address: plainAddress(address ?? "0.0.0.0"), port: port ?? 0 };
}
