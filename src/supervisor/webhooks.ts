import { createHmac, randomUUID } from "node:crypto";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { hostname } from "node:os";
import { setTimeout as after } from "node:timers/promises";
import type { EventName, WebhookConfig } from "../config/log-section.ts";

/** An event, as a webhook gets it. */
export interface NodeEvent {
  readonly id: string;
  readonly event: EventName;
  /** ISO 8601. */
  readonly time: string;
  readonly node: string;
  /** One sentence. */
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** Tells programs of events by HTTP. Nothing waits for them. */
export interface Webhooks {
  tell(event: EventName, message: string, details?: NodeEvent["details"]): void;
  /** Requests that were given up, and events for which there was no room. */
  readonly lost: number;
  /** Events that wait are given a moment. */
  close(): Promise<void>;
}

export interface Hook extends WebhookConfig {
  /** Undefined: requests are not signed. */
  readonly key: string | undefined;
}

interface WebhookOptions {
  /** PEM: the roots that https servers must reach. */
  readonly roots: () => readonly string[];
  readonly log: { warn(about: object, message: string): void };
  /** ms between two attempts: the first pause, and the longest. */
  readonly pauses?: { readonly first: number; readonly longest: number };
}

/** Events that wait for one webhook. */
const MOST = 1_000;
/** Attempts for one event. The last comes 10 minutes after the first. */
const ATTEMPTS = 10;
const PAUSES = { first: 1_000, longest: 300_000 };
/** ms for what waits when the node stops. */
const CLOSE = 1_000;
/** The most bytes of an answer that are read. */
const LONGEST_ANSWER = 64 * 1024;

export function openWebhooks(hooks: readonly Hook[], options: WebhookOptions): Webhooks {
  const senders = hooks.map((hook) => new Sender(hook, options));
  return {
    tell(event, message, details = {}) {
      const told: NodeEvent = {
        ...{ id: randomUUID(), event, time: new Date().toISOString() },
        ...{ node: hostname(), message, details },
      };
      for (const sender of senders) if (sender.wants(event)) sender.take(told);
    },
    get lost() {
      return senders.reduce((sum, sender) => sum + sender.lost, 0);
    },
    close: async () => void (await Promise.all(senders.map((sender) => sender.close()))),
  };
}

/** Sends events to one webhook, one after the other, in their order. */
class Sender {
  readonly #hook: Hook;
  readonly #options: WebhookOptions;
  readonly #waiting: NodeEvent[] = [];
  readonly #closing = new AbortController();
  #sending: Promise<void> | undefined;
  lost = 0;

  constructor(hook: Hook, options: WebhookOptions) {
    this.#hook = hook;
    this.#options = options;
  }

  wants(event: EventName): boolean {
    return this.#hook.events.includes(event);
  }

  take(event: NodeEvent): void {
    if (this.#waiting.length >= MOST || this.#closing.signal.aborted) {
      this.lost += 1;
      return;
    }
    this.#waiting.push(event);
    this.#sending ??= this.#sendAll();
  }

  async close(): Promise<void> {
    const late = setTimeout(() => this.#closing.abort(), CLOSE);
    await this.#sending;
    clearTimeout(late);
    this.#closing.abort();
  }

  async #sendAll(): Promise<void> {
    for (let [event] = this.#waiting; event !== undefined; [event] = this.#waiting) {
      await this.#sendOne(event);
      this.#waiting.shift();
      if (this.#closing.signal.aborted) break;
    }
    this.lost += this.#waiting.splice(0).length;
    this.#sending = undefined;
  }

  async #sendOne(event: NodeEvent): Promise<void> {
    const { first, longest } = this.#options.pauses ?? PAUSES;
    for (let attempt = 0; ; attempt += 1) {
      const failure = await this.#post(event);
      if (failure === undefined) return;
      const isLast = attempt + 1 >= ATTEMPTS || !failure.again || this.#closing.signal.aborted;
      if (attempt === 0 || isLast) {
        // The rest of the URL may be a secret.
        const { origin } = new URL(this.#hook.url);
        const what = isLast
          ? "A webhook did not take an event, which is lost"
          : "A webhook does not take an event; it is tried again";
        this.#options.log.warn({ webhook: origin, event: event.event, why: failure.why }, what);
      }
      if (isLast) {
        this.lost += 1;
        return;
      }
      await after(Math.min(first * 2 ** attempt, longest), undefined, {
        signal: this.#closing.signal,
        ref: false,
      }).catch(() => {});
    }
  }

  /** Undefined: it took the event. */
  #post(event: NodeEvent): Promise<Failure | undefined> {
    const { url, key, timeout } = this.#hook;
    const body = JSON.stringify(event);
    const isTls = new URL(url).protocol === "https:";
    const { promise, resolve } = Promise.withResolvers<Failure | undefined>();
    const options = {
      method: "POST",
      headers: { ...headersOf(event, body), ...(key !== undefined && signatureOf(key, body, Date.now())) },
      signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timeout)]),
      ...(isTls && { ca: [...this.#options.roots()] }),
    };
    const sent = (isTls ? requestTls : requestPlain)(url, options, (answer) => {
      const { statusCode = 0 } = answer;
      let length = 0;
      answer.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > LONGEST_ANSWER) answer.destroy();
      });
      answer.on("error", () => {});
      answer.once("close", () => resolve(judge(statusCode)));
    });
    sent.on("error", ({ name, code }: NodeJS.ErrnoException) =>
      resolve({
        why: name === "TimeoutError" || code === "ABORT_ERR" ? `no answer in ${timeout} ms` : (code ?? name),
        again: true,
      }),
    );
    sent.end(body);
    return promise;
  }
}

interface Failure {
  readonly why: string;
  /** It may take the event later. */
  readonly again: boolean;
}

function judge(status: number): Failure | undefined {
  if (status >= 200 && status < 300) return undefined;
  const again = status >= 500 || status === 408 || status === 425 || status === 429;
  return { why: `HTTP ${status}`, again };
}

function headersOf({ event, id }: NodeEvent, body: string): Record<string, string | number> {
  return {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "user-agent": "Clearline",
    "x-clearline-event": event,
    "x-clearline-id": id,
  };
}

/** The time is signed too, so that a request that is sent again later can be told. In seconds since the epoch. */
export function signatureOf(key: string, body: string, now: number): Record<string, string> {
  const time = String(Math.floor(now / 1000));
  const signature = createHmac("sha256", key).update(`${time}.${body}`).digest("hex");
  return { "x-clearline-time": time, "x-clearline-signature": `sha256=${signature}` };
}
