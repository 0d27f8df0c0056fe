import type { End } from "../engine/end.ts";
import type { Endpoint, FlowClass } from "../vocabulary.ts";
import type { PortMap } from "./ports.ts";
import type { Returns } from "./returns.ts";

/** What a tool is told of a session. */
export interface ToolSubject {
  /** The session's identifier. */
  readonly id: string;
  /** Their own addresses and ports, whatever the listener. */
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly flow: FlowClass;
  /** The SNI, or the CONNECT host. */
  readonly host: string | undefined;
  /** The protocol of the plaintext, as ALPN names it. */
  readonly alpn: string | undefined;
}

/** One session's way through one tool: what the client says goes in at Ta and comes out at Tb; the answers the other way. */
export interface Hop {
  /** The tool's name. */
  readonly tool: string;
  /** The node's connection toward the tool, established, paused, half-open capable. */
  readonly ta: End;
  /**
   * What came back through the tool, paired with this session. A tool of kind proxy may connect only when the first bytes have
   * reached it. Rejects with NetworkError when it does not come, and when `ta` has closed before it came.
   */
  readonly tb: Promise<End>;
  /** Takes off what came back at Tb in front of the session's bytes; undefined: nothing does. */
  readonly sieve?: { take(bytes: Buffer): Buffer; end(): Buffer } | undefined;
}

/** A tool in the path. One for each worker. */
export interface Tool {
  readonly name: string;
  readonly kind: "inline" | "proxy";
  /**
   * Connects a session through the tool; `onReturn` is called when the tool's connection, or its SYN, has come back at Tb.
   * Throws NetworkError: the tool refused, did not answer in time, or what came back belonged to another session.
   */
  connect(subject: ToolSubject, onReturn: () => void): Promise<Hop>;
  counters(): ToolCounters;
  /** Takes no more sessions; those that pass go on. */
  close(): Promise<void>;
}

export interface ToolCounters {
  /** Connections and packets that came back at Tb and belonged to no live session: dropped. */
  readonly strangers: number;
}

/** The configuration of a tool, as far as the chain and the health need it. Times in ms. */
export interface ToolSettings {
  readonly name: string;
  readonly kind: "inline" | "proxy";
  readonly flows: readonly FlowClass[];
  readonly onFailure: "bypass" | "drop";
}

/** A tool that is a TCP service: the node connects to it at Ta, and it connects back at Tb. */
export interface ProxyTool extends ToolSettings {
  readonly address: { readonly host: string; readonly port: number };
  readonly returnAddress: { readonly host: string; readonly port: number };
  /** The addresses that it connects back from. Undefined: those of `address`. */
  readonly from?: readonly string[] | undefined;
  readonly header: "proxy-v2" | "sslproxy";
  readonly ports: PortMap;
}

/** What every tool works with. */
export interface ToolContext {
  /** Where the tool stands in the configuration: "tools[0]". */
  readonly path: string;
  readonly worker: number;
  readonly workers: number;
  /** ms to connect through the tool. A reload changes it while the tool is open: call this where it is used. */
  readonly timeout: () => number;
  /** What comes back from tools of kind proxy. */
  readonly returns: Returns;
  /** Writes a line to the node's log. */
  readonly warn: (about: Readonly<Record<string, unknown>>, message: string) => void;
}
