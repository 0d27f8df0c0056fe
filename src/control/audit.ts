import type { AuditedAction, AuditOutcome } from "../vocabulary.ts";
import type { AuditEntry } from "./api.ts";
import type { AuditCalls, AuditQuery, Begun } from "./audit-store.ts";
import type { Caller } from "./caller.ts";
import { type Disk, DiskStall, type Store } from "./disk.ts";

export interface AuditOptions {
  /** Made when absent, with mode 0600. ":memory:" for a log that ends with the node. */
  readonly file: string;
  /** ms; older entries are removed. */
  readonly keepAge: number;
  /** The most entries; the oldest above it are removed. */
  readonly keepEntries: number;
  /** Reads and writes the file. */
  readonly disk: Disk;
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
  /** Records that this begins. Rejects with AuditFailure when it cannot: then it must not be done. */
  begin(step: AuditedStep): Promise<number>;
  /** Records how it ended. Throws nothing: it has happened. */
  end(number: number, outcome: Ended, detail?: string): void;
  /** Records something that is over. Throws nothing. */
  note(step: AuditedStep, outcome: Ended, detail?: string): void;
  /** Records this work, before it and after it. Rejects with AuditFailure, without beginning it, and with whatever the work throws. */
  during<T>(step: AuditedStep, work: () => Promise<T>, detailOf?: (result: T) => string): Promise<T>;
  /** Newest first. Rejects with AuditFailure. */
  search(query: AuditQuery, limit: number): Promise<AuditEntry[]>;
  close(): Promise<void>;
}

/** The audit log cannot be written or read now. */
export class AuditFailure extends Error {
  override readonly name = "AuditFailure";
}

type Ended = Exclude<AuditOutcome, "begun">;

const TOO_LATE = "It was refused: the disk took too long to record it";
const CLOSING = "Cannot close the audit log";
/** Longer texts of callers are cut. */
const TEXT_MAX = 500;

export function openAudit({ file, keepAge, keepEntries, disk, log }: AuditOptions): Audit {
  const store = disk.open("audit", file);
  const begun = new Map<number, AuditedStep>();

  /** Rejects with AuditFailure: also when the disk does not answer, but then `late` gets its answer, if there ever is one. */
  async function use<T>(act: (store: Store<AuditCalls>) => Promise<T>, late?: (result: T) => void): Promise<T> {
    const fail = (error: Error) =>
      new AuditFailure(`the audit log ${file} cannot be used: ${error.message}`, { cause: error });
    const { refusal } = disk;
    if (refusal) throw fail(refusal);
    const answer = act(store);
    return await disk.inTime(answer).catch((error: Error) => {
      if (error instanceof DiskStall) answer.then(late, () => undefined);
      throw fail(error);
    });
  }

  const keep = () => ({ age: keepAge, entries: keepEntries, wall: Date.now(), passed: performance.now() });
  const ending = (outcome: Ended, detail?: string) => ({ time: Date.now(), outcome, detail: cut(detail) });

  /** Records how an entry ended. Resolves also when it cannot. */
  async function endEntry(number: number, step: AuditedStep, outcome: Ended, detail?: string): Promise<void> {
    await use((store) => store.call("end", number, ending(outcome, detail), keep())).catch((error) =>
      lost(error, step),
    );
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
    use((store) => store.call("check")).catch(({ message }: Error) =>
      log.error({}, `Changes by the API and the commands are refused: ${message}`),
    );
  }

  const audit: Audit = {
    async begin(step) {
      const tooLate = (number: number) => void endEntry(number, step, "failed", TOO_LATE);
      const number = await use((store) => store.call("begin", entryOf(step)), tooLate);
      begun.set(number, step);
      return number;
    },
    end(number, outcome, detail) {
      const step = begun.get(number);
      if (!step) return;
      begun.delete(number);
      tell(step, outcome, detail);
      void endEntry(number, step, outcome, detail);
    },
    note(step, outcome, detail) {
      tell(step, outcome, detail);
      use((store) => store.call("note", entryOf(step), ending(outcome, detail), keep())).catch((error) =>
        lost(error, step),
      );
    },
    async during(step, work, detailOf) {
      const number = await audit.begin(step);
      try {
        const result = await work();
        audit.end(number, "done", detailOf?.(result));
        return result;
      } catch (error) {
        audit.end(number, "failed", error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
    search: (query, limit) => use((store) => store.call("search", query, limit)),
    async close() {
      await disk.inTime(store.call("close")).catch((error) => log.error({ error: String(error) }, CLOSING));
    },
  };
  tellOfFailure();
  return audit;
}

function entryOf({ caller: { name, role }, address, action, subject }: AuditedStep): Begun {
  return { time: Date.now(), who: name, role, address, action, subject: cut(subject) };
}

function cut(text: string | null | undefined): string | null {
  if (text === null || text === undefined) return null;
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX - 1)}…`;
}
