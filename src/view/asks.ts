import { captureOf } from "./capture.ts";
import { follow } from "./follow.ts";
import { harOf } from "./har.ts";
import type { Ask, ViewSetup } from "./protocol.ts";
import type { SessionLog } from "./session-log.ts";
import type { Transaction } from "./transaction.ts";
import type { View } from "./view.ts";

/** Why an ask has no answer: one line for the user. */
export class Refused extends Error {}

/** The pieces of an answer: text, or the bytes of a file. Throws Refused before the first one. */
export async function* answer(
  ask: Ask,
  view: View,
  { feed, version }: ViewSetup,
  signal: AbortSignal,
): AsyncGenerator<string | Uint8Array> {
  switch (ask.of) {
    case "transactions": {
      const { session, host, limit } = ask;
      if (session !== undefined) heldOf(view, session);
      const transactions = view.transactions(matcher(session, host), limit);
      yield JSON.stringify({ transactions, ...view.state() });
      break;
    }
    case "har":
      yield* harOf(logsFor(view, ask), {
        version,
        bodies: ask.bodies || feed.bodies,
        body: feed.limits.body,
        wants: matcher(ask.session, ask.host),
      });
      break;
    case "pcap":
      yield* captureOf(heldOf(view, ask.session), feed.name, feed.ports);
      break;
    case "follow":
      for await (const part of follow(heldOf(view, ask.session), { body: feed.limits.body, signal }))
        yield JSON.stringify(part);
      break;
    default:
      ask satisfies never;
  }
}

function logsFor(view: View, { session, host }: Extract<Ask, { of: "har" }>): SessionLog[] {
  if (session !== undefined) return [heldOf(view, session)];
  const wanted = view.transactions(matcher(undefined, host), Number.POSITIVE_INFINITY);
  const ids = new Set(wanted.map((transaction) => transaction.session));
  const found = [...ids].flatMap((id) => view.memory.find(id) ?? []);
  return found.sort((one, other) => one.start - other.start);
}

function heldOf(view: View, id: string): SessionLog {
  const log = view.memory.find(id);
  if (log) return log;
  const why = "the HTTP view does not hold it: it was not copied to the view, or newer sessions took its memory";
  throw new Refused(`Cannot show what session ${id} carried: ${why}`);
}

function matcher(session: string | undefined, host: string | undefined): (transaction: Transaction) => boolean {
  const matches = host === undefined ? () => true : hostTest(host.toLowerCase());
  return (transaction) => (session === undefined || transaction.session === session) && matches(transaction.url);
}

/** `*.example.com` matches every subdomain, as in lists. */
function hostTest(wanted: string): (url: string) => boolean {
  return (url) => {
    const host = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(\[[^\]]*\]|[^/:?#]*)/i.exec(url)?.[1]?.toLowerCase() ?? "";
    return wanted.startsWith("*.") ? host.endsWith(wanted.slice(1)) : host === wanted;
  };
}
