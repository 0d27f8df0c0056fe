import type { SharedFtpSession } from "../legs/ftp-sessions.ts";
import type { FromWorker, FtpSessionAnswer } from "../messages.ts";

/** ms that a control connection waits for the other workers. One that hangs must not stop FTP at all others. */
const PATIENCE = 3_000;

interface Shared {
  /** The workers that have not taken it yet. Undefined: the supervisor has not said how many it sent it to. */
  missing: number | undefined;
  done(): void;
}

/** Shares sessions of FTP's control connections with the other workers, through the supervisor. Its answers are given to `hear`. */
export function createFtpChannel(tell: (message: FromWorker) => unknown, patience = PATIENCE) {
  const waiting = new Map<number, Shared>();
  let last = 0;
  return {
    /** Resolves once all of them have it, or the time for that is over. */
    async share(session: SharedFtpSession): Promise<void> {
      last += 1;
      const request = last;
      const { promise, resolve } = Promise.withResolvers<void>();
      const late = setTimeout(resolve, patience);
      waiting.set(request, { missing: undefined, done: resolve });
      tell({ kind: "ftp session", request, shared: session });
      await promise;
      clearTimeout(late);
      waiting.delete(request);
    },
    hear(answer: FtpSessionAnswer): void {
      const shared = waiting.get(answer.request);
      if (!shared) return;
      if (answer.kind === "ftp session sent") shared.missing = answer.workers;
      else if (shared.missing !== undefined) shared.missing -= 1;
      if (shared.missing === 0) shared.done();
    },
  };
}
