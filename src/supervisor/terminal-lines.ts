import { PROGRAM } from "../cli/program.ts";
import { bytes, color, duration, plain, shortTime } from "../cli/render.ts";
import { stdout } from "../log.ts";
import type { Session } from "../sessions/record.ts";
import type { Transaction } from "../view/transaction.ts";
import type { NodeState } from "./state.ts";

/** What a node on a terminal shows of its traffic: one line for each HTTP transaction, and for each client that refuses the CA. */

/** Whether anybody reads the lines. */
export function printsLines(): boolean {
  return process.stdout.isTTY === true;
}

export function printTransactions(transactions: readonly Transaction[], more: number): void {
  const width = process.stdout.columns || 80;
  for (const transaction of transactions) stdout.take(`${transactionLine(transaction, width)}\n`);
  if (more > 0) stdout.take(color.dim(`… and ${more} more; see: clearline transactions\n`));
}

/** "11:23:45 200 GET https://www.example.com/json  application/json  1.2 kB  45 ms". */
export function transactionLine(transaction: Transaction, width: number): string {
  const { started, ended, status, method, url, responseType, responseBytes, problem, messages, session } = transaction;
  const facts = [
    ...(responseType === null ? [] : [plain(responseType)]),
    bytes(responseBytes),
    ...(messages ? [`${messages.client + messages.server} messages`] : []),
    ...(ended === null ? [] : [duration(ended - started)]),
    ...(problem === null ? [] : [plain(problem)]),
    ...(width >= WIDE ? [session] : []),
  ].join("  ");
  const [time, code] = [shortTime(started), String(status ?? "---")];
  const verb = plain(method).slice(0, 8);
  const room = width - time.length - code.length - verb.length - 3;
  const tail = facts.slice(0, Math.floor(room / 2));
  const [link, rest] = [cut(plain(url), Math.max(10, room - tail.length - 2)), color.dim(tail)];
  return `${color.dim(time)} ${statusColor(status)(code)} ${color.bold(verb)} ${link}  ${rest}`;
}

/** From this width on a line names the session. */
const WIDE = 110;

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

function statusColor(status: number | null): (text: string) => string {
  if (status === null || status >= 500) return color.red;
  return status >= 400 ? color.yellow : color.green;
}

/** ms for which the same client's refusals of the same host are not told again, and how many are remembered. */
const AGAIN = 60_000;
const REMEMBERED = 1_000;

/** Prints a line when a client refuses the node's certificate. Returns how to stop. */
export function printRefusals(state: NodeState): () => void {
  const told = new Map<string, number>();
  const listener = ({ closed }: { readonly closed: readonly Session[] }) => {
    for (const session of closed) {
      if (session.outcome !== "clientRefusedCertificate") continue;
      const key = `${session.client.address} ${hostOf(session)}`;
      if (Date.now() - (told.get(key) ?? 0) < AGAIN) continue;
      told.set(key, Date.now());
      if (told.size > REMEMBERED) told.delete(told.keys().next().value!);
      stdout.take(`${refusalLine(session)}\n`);
    }
  };
  state.subscribers.add(listener);
  return () => state.subscribers.delete(listener);
}

export function refusalLine(session: Pick<Session, "start" | "client" | "sni" | "connectHost" | "server">): string {
  const who = plain(session.client.address);
  const remedy = `To trust it: ${PROGRAM} ca export. Or bypass the host`;
  return `${color.dim(shortTime(session.start))} ${color.red("CA ")} ${who} does not trust the CA (${plain(hostOf(session))})\n             ${remedy}`;
}

function hostOf({ sni, connectHost, server }: Pick<Session, "sni" | "connectHost" | "server">): string {
  return sni ?? connectHost ?? server?.address ?? "an unknown host";
}
