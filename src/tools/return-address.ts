import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { End } from "../engine/end.ts";
import { type Accept, listen, listenConfigured } from "../engine/listen.ts";
import { until } from "../engine/wait.ts";
import { NetworkError, PeerError } from "../errors.ts";
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
  /** Listens for one session, at a port that the kernel chooses. Throws NetworkError. */
  openPort(accept: (back: End) => void): End;
  /** Takes no more connections. */
  close(): void;
}

/**
 * Listens at a tool's return address and gives each connection to the session that awaits it. Connections from other addresses than
 * the tool's are reset. Throws ConfigError when the node cannot listen there.
 */
export async function openReturnAddress(tool: ProxyTool, context: ToolContext): Promise<ReturnAddress> {
  const { name, returnAddress } = tool;
  const { path, loop, timeout, returns } = context;
  const addresses = new Set((tool.from ?? (await addressesOf(tool.address.host))).map(plainAddress));
  const strangers = createStrangers(name, context.warn);
  const reset = (back: End, from: string, why: string) => {
    strangers.add(from, why);
    back.reset();
  };
  const fromTool =
    (take: (back: End, from: string) => void): Accept =>
    (back, { address }) => {
      if (addresses.has(plainAddress(address))) take(back, address);
      else reset(back, address, "it is not from an address of the tool's");
    };
  const pairByHeader = async (back: End, from: string) => {
    try {
      const header = await readReturnHeader(back, timeout());
      if (!header) back.close();
      else if (!(await returns.give(back, keysOf(tool, header)))) strangers.add(from, unknown(tool, header));
    } catch (error) {
      reset(back, from, "it did not begin with a PROXY header");
      if (!(error instanceof NetworkError || error instanceof PeerError)) throw error;
    }
  };

  // SSLproxy's line names a port of its own for each session: here the node only finds out whether it can listen at the address.
  const onePort = tool.header === "sslproxy";
  const at = onePort ? { ...returnAddress, port: 0, shared: false } : { ...returnAddress, shared: context.workers > 1 };
  const accept = fromTool(onePort ? (back) => back.close() : pairByHeader);
  const listener = await listenConfigured(loop, `${path}.returnAddress`, at, accept);
  const host = listener.local()!.address;
  if (onePort) listener.close();
  return {
    get strangers() {
      return strangers.count;
    },
    learn(address) {
      if (!tool.from) addresses.add(plainAddress(address));
    },
    openPort: (take) => listen(loop, { host, port: 0, shared: false }, fromTool(take)),
    close: () => listener.close(),
  };
}

/** What is wrong with a connection back whose header names no session. */
function unknown({ matching }: ProxyTool, { uniqueId }: ProxyHeader): string {
  return matching === "unique-id" && !uniqueId
    ? "its PROXY header has no unique ID; let the tool pass it on, or set matching: addresses"
    : "it belongs to no session";
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

/**
 * Takes the PROXY header off, and leaves what follows where it is. Undefined: the connection ended without a byte, or its header says
 * that it is a health check. Rejects with PeerError when the header is malformed, with NetworkError when the connection breaks or the
 * header is not complete after `timeout` ms.
 */
function readReturnHeader(back: End, timeout: number): Promise<ProxyHeader | undefined> {
  const attempt = (): { readonly header: ProxyHeader | undefined } | undefined => {
    const bytes = peekOrEnd(back);
    if (bytes === "ended") return { header: undefined };
    if (!bytes) return undefined;
    const reading = readProxyHeader(bytes);
    if (reading.kind === "header") {
      back.skip(reading.length);
      return { header: reading.header.command === "local" ? undefined : reading.header };
    }
    if (back.hasLeft) throw new NetworkError("The tool ended its connection within the PROXY header", "ECONNRESET");
    return undefined;
  };
  const late = `The tool sent no PROXY header in ${timeout} ms`;
  return until([back], attempt, { timeout, late }).then(({ header }) => header);
}

function peekOrEnd(back: End): Buffer | "ended" | undefined {
  try {
    return back.peek();
  } catch (error) {
    if (error instanceof NetworkError && error.code === "EOF") return "ended";
    throw error;
  }
}
