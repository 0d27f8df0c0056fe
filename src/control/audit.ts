import { statSync } from "node:fs";
import type { AuditedAction, AuditOutcome } from "../vocabulary.ts";
import type { AuditEntry } from "./api.ts";
import { type AuditQuery, AuditStore, type Begun } from "./audit-store.ts";
import type { Caller } from "./caller.ts";
import { isUnusable } from "./database.ts";
import { RetentionClock } from "./retention-clock.ts";

export interface AuditOptions {
  /** Made when absent, with mode 0600. ":memory:" for a log that ends with the node. */
  readonly file: string;
  /** ms; older entries are removed. */
  readonly keepAge: number;
  /** The most entries; the oldest above it are removed. */
  readonly keepEntries: number;
  readonly log: {
    info(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
}

/** A change, or a look at plaintext. */
export interface AuditedStep {
  readonly caller: Caller;
  /** Where the request comes from. Null: from the machine itself, as a signal does. */
  readonly address: string | null;
  readonly action: AuditedAction;
  /** What it is about: a host, an ID, a name. Never a secret. */
  readonly subject: string | null;
}

/**
 * Who did what. What cannot be recorded must not be done: record it first. An entry is also a line of the log. None of this has
 * to do with the node's traffic, which goes on when the disk is full.
 */
export interface Audit {
  /** Records that this begins. Throws AuditFailure when it cannot: then it must not be done. */
  begin(step: AuditedStep): number;
  /** Records how it ended. Throws nothing: it has happened. */
  end(number: number, outcome: Exclude<AuditOutcome, "begun">, detail?: string): void;
  /** Records something that is over. Throws nothing. */
  note(step: AuditedStep, outcome: Exclude<AuditOutcome, "begun">, detail?: string): void;
  /** Records this work, before it and after it. Throws AuditFailure, without beginning it, and whatever the work throws. */
  during<T>(step: AuditedStep, work: () => Promise<T>, detailOf?: (result: T) => string): Promise<T>;
  /** Newest first. Throws AuditFailure. */
  search(query: AuditQuery, limit: number): AuditEntry[];
  close(): void;
}

/** The audit log cannot be written or read now. */
export class AuditFailure extends Error {
  override readonly name = "AuditFailure";
}

/** Longer texts of callers are cut. */
const TEXT_MAX = 500;

/** A new database is made with the first entry, and one is opened again after each failure: what stood in its way may be gone. */
export function openAudit({ file, keepAge, keepEntries, log }: AuditOptions): Audit {
  let open: { readonly store: AuditStore; readonly place: string } | undefined;
  let clock: RetentionClock | undefined;
  const begun = new Map<number, AuditedStep>();

  function close(): void {
    open?.store.close();
    open = undefined;
  }

  function use<T>(act: (store: AuditStore) => T): T {
    try {
      // A log that somebody moved away is begun anew; entries of a file without a name would be lost.
      if (open && open.place !== placeOf(file)) close();
      if (!open) {
        const store = new AuditStore(file);
        open = { store, place: placeOf(file) };
      }
      return act(open.store);
    } catch (error) {
      close();
      const cause = error instanceof Error ? error.message : String(error);
      const why = isUnusable(error) ? `${cause}. Restore it, or move it away: then a new one begins` : cause;
      throw new AuditFailure(`the audit log ${file} cannot be used: ${why}`, { cause: error });
    }
  }

  /** Some of the old entries go with each new one. */
  function forget(): void {
    use((store) => {
      clock ??= new RetentionClock(store.newest() ?? Date.now(), Date.now(), performance.now());
      store.forget(clock.now(Date.now(), performance.now()) - keepAge, keepEntries);
    });
  }

  function tell(step: AuditedStep, outcome: AuditOutcome, detail?: string): void {
    const { caller, address, action, subject } = step;
    const fields = { who: caller.name, role: caller.role, address, action, subject, outcome, detail };
    log.info(fields, `${caller.name}: ${action}${subject === null ? "" : ` ${subject}`}: ${outcome}`);
  }

  function lost(error: unknown, step: AuditedStep): void {
    log.error({ error: String(error), action: step.action }, "Cannot record in the audit log how an action ended");
  }

  /** The first who needs the log would learn it late. */
  function tellOfFailure(): void {
    try {
      use((store) => store.newest());
    } catch (error) {
      if (!(error instanceof AuditFailure)) throw error;
      log.error({}, `Changes by the API and the commands are refused: ${error.message}`);
    }
  }

  const audit: Audit = {
    begin(step) {
      const number = use((store) => store.write(entryOf(step)));
      begun.set(number, step);
      return number;
    },
    end(number, outcome, detail) {
      const step = begun.get(number);
      if (!step) return;
      begun.delete(number);
      tell(step, outcome, detail);
      try {
        use((store) => store.end(number, { time: Date.now(), outcome, detail: cut(detail) }));
        forget();
      } catch (error) {
        lost(error, step);
      }
    },
    note(step, outcome, detail) {
      tell(step, outcome, detail);
      try {
        use((store) => store.write(entryOf(step), { time: Date.now(), outcome, detail: cut(detail) }));
        forget();
      } catch (error) {
        lost(error, step);
      }
    },
    async during(step, work, detailOf) {
      const number = audit.begin(step);
      try {
        const result = await work();
        audit.end(number, "done", detailOf?.(result));
        return result;
      } catch (error) {
        audit.end(number, "failed", error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
    search: (query, limit) => use((store) => store.search(query, limit)),
    close,
  };
  if (placeOf(file) !== "") tellOfFailure();
  return audit;
}

function entryOf({ caller: { name, role }, address, action, subject }: AuditedStep): Begun {
  return { time: Date.now(), who: name, role, address, action, subject: cut(subject) };
}

function cut(text: string | null | undefined): string | null {
  if (text === null || text === undefined) return null;
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX - 1)}…`;
}

/** Which file is there now. */
function placeOf(file: string): string {
  if (file === ":memory:") return file;
  const found = statSync(file, { throwIfNoEntry: false });
  return found ? `${found.dev}:${found.ino}` : "";
}
