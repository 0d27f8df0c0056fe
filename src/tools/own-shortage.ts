import { NetworkError } from "../errors.ts";

/** What the system says when this process, or this machine, has no more to give: connect(2), bind(2), socket(2), open(2). */
const SHORTAGES: readonly string[] = [
  ...["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"],
  ...["EADDRNOTAVAIL", "EADDRINUSE", "EACCES", "EPERM"],
  // The session was over before its tool was reached.
  "ECONNABORTED",
];

/** Whether a connection through a tool came to nothing on this side of the tool: of the tool's health it says nothing. */
export function isOwnShortage(error: unknown): boolean {
  return error instanceof NetworkError && SHORTAGES.includes(error.code);
}
