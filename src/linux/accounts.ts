import { readFileSync } from "node:fs";
import koffi from "koffi";
import type { Account } from "./privileges.ts";

const libc = koffi.load(null);
const passwdByName = libc.func("void *getpwnam(const char *)");
const passwdByNumber = libc.func("void *getpwuid(uint32_t)");

/** A user by name or number, as the system's name service knows it. Undefined: it knows none. */
export function findAccount(user: string | number): Account | undefined {
  const found: unknown = typeof user === "number" ? passwdByNumber(user) : passwdByName(user);
  if (found === null) return undefined;
  // struct passwd: two pointers, then pw_uid and pw_gid.
  const [uid, gid] = koffi.decode(found, 16, koffi.array("uint32_t", 2)) as number[];
  return { uid: uid!, gid: gid! };
}

/** Whether the user namespace of this process has this user and group. A container may have few. */
export function hasAccount({ uid, gid }: Account): boolean {
  return isMapped("/proc/self/uid_map", uid) && isMapped("/proc/self/gid_map", gid);
}

function isMapped(file: string, id: number): boolean {
  const ranges = readFileSync(file, "utf8").trim().split("\n");
  return ranges.some((range) => {
    const [first = 0, , length = 0] = range.trim().split(/\s+/).map(Number);
    return id >= first && id < first + length;
  });
}
