import { readdirSync, readFileSync } from "node:fs";
import { InvariantError } from "../errors.ts";
import { type Capability, maskOf } from "./capabilities.ts";
import { restrictStations } from "./netns-station.ts";
import { keepCapabilities, setCapabilities } from "./process-calls.ts";

/** A user of this machine. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Makes this process one of another user, with these capabilities and no other group, for good. Needs CAP_SETUID, CAP_SETGID and
 * the capabilities that it keeps. Throws the system's errors, and InvariantError when a thread would keep more; then the process
 * must end.
 */
export function becomeUser({ uid, gid }: Account, capabilities: readonly Capability[]): void {
  const mask = maskOf(capabilities);
  // capset is for one thread. But the kernel takes all capabilities from each thread that stops being root, unless the thread
  // asked to keep them; and the C library changes the user of all threads. So only this thread, whose capabilities are cut
  // below, and the stations keep any. A process that is not root has to become it first.
  keepCapabilities();
  process.setgroups!([]);
  process.setgid!(gid);
  process.setuid!(0);
  process.setuid!(uid);
  setCapabilities(mask);
  restrictStations(mask);
  checkThreads(uid, gid, mask);
}

function checkThreads(uid: number, gid: number, mask: bigint): void {
  for (const thread of readdirSync("/proc/self/task")) {
    const status = statusOf(thread);
    if (status === undefined) continue;
    const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
    const isUser = [...field("Uid").split(/\s+/)].every((id) => Number(id) === uid);
    const isGroup = [...field("Gid").split(/\s+/)].every((id) => Number(id) === gid) && field("Groups") === "";
    // What is inheritable only passes to a program whose file has capabilities of its own.
    const isBounded = ["CapPrm", "CapEff", "CapAmb"].every((set) => (BigInt(`0x${field(set) || "0"}`) & ~mask) === 0n);
    if (isUser && isGroup && isBounded) continue;
    throw new InvariantError(`Cannot give up the rights of this process: thread ${thread} keeps some of them`);
  }
}

/** Undefined: the thread has ended meanwhile, and keeps nothing. */
function statusOf(thread: string): string | undefined {
  try {
    return readFileSync(`/proc/self/task/${thread}/status`, "utf8");
  } catch (error) {
    if (ENDED.includes((error as NodeJS.ErrnoException).code)) return undefined;
    throw error;
  }
}

const ENDED: readonly (string | undefined)[] = ["ENOENT", "ESRCH"];
