import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../test/processes.ts";

/** A cgroup of version 1, which is removed when the scope ends: its processes must have ended or left by then. */
export class Cgroup implements AsyncDisposable {
  readonly #folder: string;

  constructor(folder: string) {
    mkdirSync(folder);
    this.#folder = folder;
  }

  write(file: string, value: string | number): void {
    writeFileSync(join(this.#folder, file), String(value));
  }

  read(file: string): string {
    return readFileSync(join(this.#folder, file), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Those that live on go back; the kernel forgets the dead ones a moment after their end.
    for (const pid of this.read("cgroup.procs").split("\n").filter(Boolean)) {
      try {
        writeFileSync(join(this.#folder, "../cgroup.procs"), pid);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    await until("the cgroup without processes", () => this.#isRemoved());
  }

  #isRemoved(): boolean {
    try {
      rmdirSync(this.#folder);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EBUSY") return false;
      throw error;
    }
  }
}
