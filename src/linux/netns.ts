import { closeSync, openSync } from "node:fs";
import { InvariantError, NetworkError } from "../errors.ts";
import { enterNamespace } from "./syscalls.ts";

/**
 * Runs `make` with this thread in the network namespace of that name, and comes back, whatever happens. A socket stays in the
 * namespace it was made in. `make` must be synchronous: nothing else may run in between. Throws NetworkError when
 * there is no such namespace (ENOENT), no right to enter it (EPERM: CAP_SYS_ADMIN), or no descriptor for the way (EMFILE).
 */
export function within<T>(name: string, make: () => T extends Promise<unknown> ? never : T): T {
  const home = openHome(name);
  try {
    enter(name);
    try {
      return make();
    } finally {
      leave(home);
    }
  } finally {
    closeSync(home);
  }
}

function openHome(name: string): number {
  try {
    return openSync("/proc/thread-self/ns/net", "r");
  } catch (error) {
    throw notEntered(name, error);
  }
}

function enter(name: string): void {
  if (!/^[\w.-]+$/.test(name) || name === "." || name === "..") {
    throw new NetworkError(`Cannot enter the network namespace ${JSON.stringify(name)}: not a name`, "EINVAL");
  }
  let fd: number | undefined;
  try {
    fd = openSync(`/var/run/netns/${name}`, "r");
    enterNamespace(fd);
  } catch (error) {
    throw notEntered(name, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function notEntered(name: string, error: unknown): NetworkError {
  const code = (error as NodeJS.ErrnoException).code ?? "EINVAL";
  return new NetworkError(`Cannot enter the network namespace ${name}: ${code}`, code, { cause: error });
}

function leave(home: number): void {
  try {
    enterNamespace(home);
  } catch (error) {
    // Every socket made from now on would be in the wrong network: nothing may go on.
    throw new InvariantError("Cannot come back from a network namespace", { cause: error });
  }
}
