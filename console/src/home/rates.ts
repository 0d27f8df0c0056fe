import { useRef } from "preact/hooks";
import type { Stats } from "../../../src/control/api.ts";

/** What passes now, from two answers of GET /stats. Bytes are per second. */
export interface Rates {
  /** From clients, to clients, from servers, to servers. */
  readonly clientReceived: number;
  readonly clientSent: number;
  readonly serverReceived: number;
  readonly serverSent: number;
  readonly feeds: number;
  /** New sessions in a second. */
  readonly newSessions: number;
  /** New sessions in a minute that were decrypted. */
  readonly decrypted: number;
}

interface Sums {
  readonly clientReceived: number;
  readonly clientSent: number;
  readonly serverReceived: number;
  readonly serverSent: number;
  readonly feeds: number;
  readonly sessions: number;
  readonly decrypted: number;
}

/** Undefined until there are two answers. */
export function useRates(stats: Stats | undefined, at: number | undefined): Rates | undefined {
  const last = useRef<{ at: number; sums: Sums; rates: Rates | undefined } | undefined>(undefined);
  if (!stats || at === undefined) return last.current?.rates;
  if (last.current?.at === at) return last.current.rates;
  const sums = sumsOf(stats);
  const rates = last.current && between(last.current.sums, sums, (at - last.current.at) / 1000);
  last.current = { at, sums, rates };
  return rates;
}

function sumsOf({ counters, feeds }: Stats): Sums {
  const all = Object.values(counters);
  const sum = (of: (one: (typeof all)[number]) => number) => all.reduce((total, one) => total + of(one), 0);
  return {
    clientReceived: sum(({ bytes }) => bytes.clientReceived),
    clientSent: sum(({ bytes }) => bytes.clientSent),
    serverReceived: sum(({ bytes }) => bytes.serverReceived),
    serverSent: sum(({ bytes }) => bytes.serverSent),
    feeds: feeds.reduce((total, { bytes }) => total + bytes, 0),
    sessions: sum(({ total }) => total),
    decrypted: sum(({ decided: { decrypt } }) => decrypt.network + decrypt.sni + decrypt.certificate),
  };
}

function between(before: Sums, after: Sums, seconds: number): Rates {
  // A worker that was started again counts from its start.
  const rate = (name: keyof Sums) => Math.max(0, after[name] - before[name]) / seconds;
  return {
    clientReceived: rate("clientReceived"),
    clientSent: rate("clientSent"),
    serverReceived: rate("serverReceived"),
    serverSent: rate("serverSent"),
    feeds: rate("feeds"),
    newSessions: rate("sessions"),
    decrypted: rate("decrypted") * 60,
  };
}
