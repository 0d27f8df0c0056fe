import type { Account } from "../linux/privileges.ts";
import type { PortMap } from "../port-map.ts";
import type { Transaction } from "./transaction.ts";

/** The messages between the supervisor and the process of a feed of kind http. */

/** What the process gets when it starts. */
export interface ViewSetup {
  /** The node's, for the files that the view makes. */
  readonly version: string;
  readonly dataDir: string;
  /** Who the process becomes. Undefined: it stays who it is. */
  readonly user: Account | undefined;
  readonly feed: ViewFeed;
  /** Whether it tells of every transaction that is over. */
  readonly tells: boolean;
}

/** The feed as the configuration has it. */
export interface ViewFeed {
  readonly name: string;
  readonly directory?: string | undefined;
  readonly rotate: number;
  readonly rotateAfter?: number | undefined;
  readonly keep: number;
  readonly bodies: boolean;
  readonly limits: { readonly memory: number; readonly session: number; readonly body: number };
  readonly ports: PortMap;
}

/** What the API asks of the view. */
export type Ask =
  | {
      readonly of: "transactions";
      readonly session?: string | undefined;
      readonly host?: string | undefined;
      readonly limit: number;
    }
  | {
      readonly of: "har";
      readonly session?: string | undefined;
      readonly host?: string | undefined;
      readonly bodies: boolean;
    }
  | { readonly of: "pcap" | "follow"; readonly session: string };

export type ToView =
  | { readonly kind: "setup"; readonly setup: ViewSetup }
  | { readonly kind: "ask"; readonly number: number; readonly ask: Ask }
  /** The last piece of this answer was used: the next may come. */
  | { readonly kind: "more"; readonly number: number }
  /** Nobody wants the rest of this answer. */
  | { readonly kind: "enough"; readonly number: number }
  | { readonly kind: "stop" };

export type FromView =
  | { readonly kind: "ready" }
  /** The process lives: once a second. */
  | { readonly kind: "alive" }
  | { readonly kind: "piece"; readonly number: number; readonly piece: string | Uint8Array }
  | { readonly kind: "done"; readonly number: number }
  /** The ask has no answer. One line for the user. */
  | { readonly kind: "refused"; readonly number: number; readonly message: string }
  /** Transactions that are over, and how many more there were. */
  | { readonly kind: "transactions"; readonly transactions: readonly Transaction[]; readonly more: number };
