import { lookup } from "node:dns/promises";
import { isIP, type Server, type Socket } from "node:net";
import { InvariantError, NetworkError } from "../errors.ts";
import { type Accept, listen, listenConfigured } from "../linux/listen.ts";
import { type ProxyHeader, plainAddress, readProxyHeader } from "../wire/proxy-protocol.ts";
import { keysOf } from "./session-header.ts";
import { createStrangers } from "./strangers.ts";
import type { ProxyTool, ToolContext } from "./tool.ts";

/** Where a proxy tool connects back to: Tb. */
export interface ReturnAddress {
  /** Connections that belonged to no session. */
  readonly strangers: number;
  /** The tool was reached at this address, so it may connect back from there. */
  learn(address: string): void;
  /** Listens for one session, at a port that the kernel chooses. Rejects with NetworkError. */
  openPort(accept: (socket: Socket) => void): Promise<Server>;
  /** Takes no more connections. */
  close(): void;
}

/**
 * Listens at a tool's return address and gives each connection to the session that awaits it. Connections from other addresses than
 * the tool's are reset. Throws ConfigError when the node cannot listen there.
 */
export async function openReturnAddress(tool: ProxyTool, context: ToolContext): Promise<ReturnAddress> {
  const { name, returnAddress } = tool;
  const { path, timeout, returns } = context;
  const addresses = new Set((tool.from ?? (await addressesOf(tool.address.host))).map(plainAddress));
  const strangers = createStrangers(name, context.warn);
  const reset = (socket: Socket, from: string, why: string) => {
    strangers.add(from, why);
    socket.resetAndDestroy();
  };
  const fromTool =
    (take: (socket: Socket, from: string) => void): Accept =>
    (socket, { address }) => {
      if (addresses.has(plainAddress(address))) take(socket, address);
      else reset(socket, address, "it is not from an address of the tool's");
    };
  const pairByHeader = async (socket: Socket, from: string) => {
    try {
      const read = await readReturnHeader(socket, timeout());
      if (!read) socket.end().destroySoon();
      else if (!(await returns.give(socket, read.rest, keysOf(name, read.header))))
        strangers.add(from, "it belongs to no session");
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      reset(socket, from, "it did not begin with a PROXY header");
    }
  };

  // SSLproxy's line names a port of its own for each session: here the node only finds out whether it can listen at the address.
  const onePort = tool.header === "sslproxy";
  const at = onePort ? { ...returnAddress, port: 0, shared: false } : { ...returnAddress, shared: context.workers > 1 };
  const server = await listenConfigured(`${path}.returnAddress`, at, fromTool(onePort ? () => {} : pairByHeader));
  if (onePort) server.close();
  return {
    get strangers() {
      return strangers.count;
    },
    learn(address) {
      if (!tool.from) addresses.add(plainAddress(address));
    },
    openPort: (accept) => listen({ host: returnAddress.host, port: 0, shared: false }, fromTool(accept)),
    close: () => server.close(),
  };
}

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host)) return [host];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    // The name may resolve later: every connection to the tool shows its address.
    return [];
  }
}

/** The PROXY header of a connection, and the bytes that were read behind it. */
interface ReturnHeader {
  readonly header: ProxyHeader;
  readonly rest: Buffer;
}

/**
 * Reads the PROXY header and leaves the socket paused. Undefined: the connection ended without a byte, or its header says that it is
 * a health check. Rejects with PeerError when the header is malformed, with NetworkError when the connection breaks or the header is
 * not complete after `timeout` ms.
 */
function readReturnHeader(socket: Socket, timeout: number): Promise<ReturnHeader | undefined> {
  let bytes = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const settle = (conclude: () => void) => {
      clearTimeout(late);
      socket.off("readable", onReadable).off("end", onEnd).off("close", onClose);
      conclude();
    };
    const fail = (message: string, code: string) => settle(() => reject(new NetworkError(message, code)));
    const onReadable = () => {
      for (let part: Buffer | null = socket.read(); part !== null; part = socket.read()) {
        bytes = Buffer.concat([bytes, part]);
      }
      try {
        const reading = readProxyHeader(bytes);
        if (reading.kind === "more") return;
        const rest = bytes.subarray(reading.length);
        settle(() => resolve(reading.header.command === "local" ? undefined : { header: reading.header, rest }));
      } catch (error) {
        settle(() => reject(error));
      }
    };
    const onEnd = () => {
      if (bytes.length === 0) settle(() => resolve(undefined));
      else fail("The tool ended its connection within the PROXY header", "ECONNRESET");
    };
    const onClose = () => fail("The tool's connection closed before its PROXY header", "ECONNRESET");
    const late = setTimeout(() => fail(`The tool sent no PROXY header in ${timeout} ms`, "ETIMEDOUT"), timeout);
    socket.on("readable", onReadable).on("end", onEnd).on("close", onClose);
  });
}
