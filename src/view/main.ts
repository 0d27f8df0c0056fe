import { setPriority } from "node:os";
import { viewSocket } from "../feeds/http-link.ts";
import { becomeUser } from "../linux/privileges.ts";
import { forbidInspection } from "../linux/process-calls.ts";
import { log } from "../log.ts";
import { Answers } from "./answers.ts";
import { answer, Refused } from "./asks.ts";
import { openIntake } from "./intake.ts";
import { TransactionLines } from "./lines.ts";
import type { FromView, ToView, ViewSetup } from "./protocol.ts";
import type { Transaction } from "./transaction.ts";
import { View } from "./view.ts";

/**
 * The process of a feed of kind http: it reads the plaintext of sessions as HTTP/1.x, HTTP/2 and WebSocket, beside the path. Its parent,
 * the supervisor, starts it again when it ends. It holds no key, and parses what strangers sent.
 */

/** ms between two signs of life, and between two reports of transactions. */
const ALIVE = 1_000;
const REPORT = 200;
/** The most transactions in one report. */
const REPORTED = 50;

const NICE = 5;

process.on("message", (message: ToView) => void obey(message));
process.on("disconnect", () => process.exit(1));
// Ctrl-C reaches the whole process group, but it is the supervisor that stops this process.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

function tell(message: FromView): void {
  if (process.connected) process.send!(message, undefined, undefined, () => {});
}

let running: Promise<Running> | undefined;

interface Running {
  readonly setup: ViewSetup;
  readonly view: View;
  readonly lines: TransactionLines | undefined;
}

const answers = new Answers();

async function obey(message: ToView): Promise<void> {
  switch (message.kind) {
    case "setup":
      running = start(message.setup);
      try {
        await running;
      } catch (error) {
        log.error({ err: error }, `The HTTP view cannot start: ${error instanceof Error ? error.message : error}`);
        process.exit(1);
      }
      tell({ kind: "ready" });
      break;
    case "ask":
      if (running) await answerAsk(await running, message);
      break;
    case "more":
      answers.more(message.number);
      break;
    case "enough":
      answers.enough(message.number);
      break;
    case "stop":
      await (await running)?.lines?.close();
      process.exit(0);
      break;
    default:
      message satisfies never;
  }
}

async function start(setup: ViewSetup): Promise<Running> {
  const { feed, dataDir, user } = setup;
  forbidInspection();
  // Whoever carries sessions goes first.
  setPriority(NICE);
  if (user) becomeUser(user, []);
  const { directory, limits, bodies } = feed;
  const lines =
    directory === undefined
      ? undefined
      : await TransactionLines.open({
          ...{ ...feed, directory, log, rotateAfter: feed.rotateAfter },
          body: Math.min(limits.body, LINE_BODY),
        });
  const keepsBodies = bodies && lines !== undefined;
  const report = setup.tells ? startReports() : undefined;
  const view = new View({
    limits,
    keeping: { heads: keepsBodies, body: keepsBodies ? Math.min(limits.body, LINE_BODY) : 0, total: 4 * limits.body },
    onDone(transaction, detail) {
      lines?.take(transaction, detail);
      report?.(transaction);
    },
    onBug: (error) => log.error({ err: error }, "A bug kept the HTTP view from reading a session"),
  });
  await openIntake(viewSocket(dataDir, feed.name), view);
  setInterval(() => {
    view.tick(Date.now());
    tell({ kind: "alive" });
  }, ALIVE);
  return { setup, view, lines };
}

/** The most bytes of a body in a line. */
const LINE_BODY = 128 * 1024;

/** Tells the supervisor of transactions, some at a time. */
function startReports(): (transaction: Transaction) => void {
  let waiting: Transaction[] = [];
  let more = 0;
  setInterval(() => {
    if (waiting.length === 0) return;
    tell({ kind: "transactions", transactions: waiting, more });
    waiting = [];
    more = 0;
  }, REPORT);
  return (transaction) => {
    if (waiting.length < REPORTED) waiting.push(transaction);
    else more += 1;
  };
}

async function answerAsk({ view, setup }: Running, { number, ask }: Extract<ToView, { kind: "ask" }>): Promise<void> {
  try {
    await answers.give(number, (signal) => answer(ask, view, setup, signal), tell);
  } catch (error) {
    if (!(error instanceof Refused)) log.error({ err: error }, "A bug kept the HTTP view from an answer");
    tell({ kind: "refused", number, message: error instanceof Refused ? error.message : "The HTTP view failed" });
  }
}
