import type { End } from "../engine/end.ts";
import type { Loop } from "../engine/loop.ts";
import type { PortMap } from "../port-map.ts";
import type { Endpoint, FlowClass } from "../vocabulary.ts";
import type { Returns } from "./returns.ts";

/** The session that a tool is connected for. */
export interface ToolSubject {
  /** The session's identifier. */
  readonly id: string;
  /** The addresses and ports of client and server themselves, with any listener. */
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly flow: FlowClass;
  /** The SNI, or the CONNECT host. */
  readonly host: string | undefined;
  /** The protocol of the plaintext, as ALPN names it. */
  readonly alpn: string | undefined;
}

/** One session's connections to one tool. The client's bytes go in at Ta and come out at Tb, the server's the other way. */
export interface Hop {
  /** The tool's name. */
  readonly tool: string;
  /** The node's connection to the tool. Nothing has been read from it. */
  readonly ta: End;
  /**
   * The connection that came back through the tool. A tool of kind proxy may connect back only when the first bytes have reached it.
   * Rejects with NetworkError when it does not come, or when `ta` closes before.
   */
  readonly tb: Promise<End>;
  /** Removes from Tb's bytes what the tool has passed on of the session's header. Undefined: there is nothing to remove. */
  readonly sieve?: { take(bytes: Buffer): Buffer; end(): Buffer } | undefined;
}

/** An open tool. Each worker opens its own. */
export interface Tool {
  readonly name: string;
  readonly kind: "inline" | "proxy";
  /**
   * Connects a session through the tool. `onReturn` is called when the tool's connection, or its SYN, has come back at Tb. Throws
   * NetworkError when the tool refused or did not answer in time.
   */
  connect(subject: ToolSubject, onReturn: () => void): Promise<Hop>;
  counters(): ToolCounters;
  /** Takes no more sessions; live sessions continue. */
  close(): Promise<void>;
}

export interface ToolCounters {
  /** Connections and packets that came back at Tb and belonged to no live session. They were dropped. */
  readonly strangers: number;
}

/** The settings that tools of all kinds have. */
export interface ToolSettings {
  readonly name: string;
  readonly kind: "inline" | "proxy";
  readonly flows: readonly FlowClass[];
  readonly onFailure: "bypass" | "drop";
}

/** How the session of a connection back is found: by its unique ID alone, or by addresses and ports too. */
export type Matching = "unique-id" | "addresses";

/** A tool that is a TCP service: the node connects to it at Ta, and it connects back at Tb. */
export interface ProxyTool extends ToolSettings {
  readonly address: { readonly host: string; readonly port: number };
  readonly returnAddress: { readonly host: string; readonly port: number };
  /** The addresses that it connects back from. Undefined: those of `address`. */
  readonly from?: readonly string[] | undefined;
  readonly header: "proxy-v2" | "sslproxy";
  readonly matching: Matching;
  readonly ports: PortMap;
}

/** The environment of every tool. */
export interface ToolContext {
  /** The tool's path in the configuration: "tools[0]". */
  readonly path: string;
  readonly worker: number;
  readonly workers: number;
  readonly loop: Loop;
  /** ms to connect through the tool. A reload changes it while the tool is open: call this where it is used. */
  readonly timeout: () => number;
  /** The connections that come back from tools of kind proxy. */
  readonly returns: Returns;
  /** Writes a line to the node's log. */
  readonly warn: (about: Readonly<Record<string, unknown>>, message: string) => void;
}
