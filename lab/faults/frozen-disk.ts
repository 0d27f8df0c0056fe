import { execFileSync } from "node:child_process";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratch } from "../../test/processes.ts";
import { Skipped } from "./fault.ts";

/** The smallest file system that ext4 makes with a journal of a useful size. */
const SIZE = 64 * 2 ** 20;

/**
 * A file system in a folder of a node, which can be frozen: whoever writes to it waits in the kernel, as on a disk that hangs, and
 * cannot even be killed. It is thawed and unmounted when the scope ends.
 */
export class FrozenDisk implements AsyncDisposable {
  readonly #name: string;
  #folder: string | undefined;
  #isFrozen = false;

  constructor(name: string) {
    this.#name = name;
  }

  readonly mount = (folder: string): void => {
    const place = join(folder, this.#name);
    mkdirSync(place, { mode: 0o700 });
    const image = join(scratch(), "image");
    writeFileSync(image, "");
    truncateSync(image, SIZE);
    try {
      execFileSync("mkfs.ext4", ["-q", "-F", image], { stdio: "pipe" });
      execFileSync("mount", ["-o", "loop", image, place], { stdio: "pipe" });
    } catch {
      throw new Skipped("no file system of a file can be mounted here");
    }
    this.#folder = place;
    // Before the folder is removed, whose file system this is.
    process.prependListener("exit", this.#unmount);
  };

  readonly #unmount = (): void => {
    if (this.#folder === undefined) return;
    this.thaw();
    execFileSync("umount", ["-l", this.#folder]);
    this.#folder = undefined;
    process.off("exit", this.#unmount);
  };

  freeze(): void {
    this.#isFrozen = true;
    execFileSync("fsfreeze", ["-f", this.#folder!]);
  }

  thaw(): void {
    if (this.#isFrozen) execFileSync("fsfreeze", ["-u", this.#folder!]);
    this.#isFrozen = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unmount();
  }
}
