import { closeSync, openSync } from "node:fs";
import { InvariantError, NetworkError } from "../errors.ts";
import { socketsOfStation } from "./netns-station.ts";
import { enterNamespace, withSocketsFrom } from "./syscalls.ts";

/**
 * Runs `make` in the network namespace with this name, and always returns to the old one. A socket stays in the namespace it was made
 * in. `make` must be synchronous, so that no other code of this thread runs in the namespace. A process that has a station there stays
 * where it is, and gets the sockets that `make` asks for from the station. Throws NetworkError: ENOENT when there is no such namespace,
 * EPERM without CAP_SYS_ADMIN and without a station, EMFILE without a free descriptor.
 */
export function within<T>(name: string, make: () => T extends Promise<unknown> ? never : T): T {
  const sockets = socketsOfStation(name);
  if (sockets) return withSocketsFrom(sockets, make);
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

/** Moves the calling thread into the network namespace with this name. Throws NetworkError. */
export function enter(name: string): void {
  if (!/^[\w.-]+$/.test(name) || name === "." || name === "..") {
    throw new NetworkError(`Cannot enter the network namespace ${JSON.stringify(name)}: not a valid name`, "EINVAL");
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
    // Every socket from now on would be in the wrong network.
    throw new InvariantError("Cannot return from a network namespace", { cause: error });
  }
}
