import { NetworkError } from "../errors.ts";

/** Errors of connect(2), bind(2), socket(2) and open(2) that mean a shortage of this process or machine. */
const SHORTAGES: readonly string[] = [
  ...["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EBUSY"],
  ...["EADDRNOTAVAIL", "EADDRINUSE", "EACCES", "EPERM"],
  // The session was over before its tool was reached.
  "ECONNABORTED",
];

/** Whether a connection through a tool failed for a reason of the node's own, which does not count against the tool. */
export function isOwnShortage(error: unknown): boolean {
  return error instanceof NetworkError && SHORTAGES.includes(error.code);
}
