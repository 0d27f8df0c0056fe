import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";

/** What the system's files say about names: hosts(5) and resolv.conf(5). */

/** hosts(5): the addresses of each name. */
export function readHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, readonly string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names.map((one) => one.toLowerCase())) {
      hosts.set(name, [...new Set([...(hosts.get(name) ?? []), address])]);
    }
  }
  return hosts;
}

/** resolv.conf(5): the last of these lines counts. */
export function searchDomains(text: string): readonly string[] {
  const lines = text.split("\n").filter((line) => /^\s*(?:search|domain)\s/.test(line));
  return (lines.at(-1) ?? "").trim().split(/\s+/).slice(1, 7);
}

/** ms between two looks at a file's date. */
const LOOK = 1_000;

/** What a file says, read again when it has changed. A file that is not there says nothing. */
export class FileView<Value> {
  readonly #path: string;
  readonly #read: (text: string) => Value;
  #looked = Number.NEGATIVE_INFINITY;
  #stamp = "";
  #value: Value | undefined;

  constructor(path: string, read: (text: string) => Value) {
    this.#path = path;
    this.#read = read;
  }

  get value(): Value {
    if (this.#value === undefined || performance.now() - this.#looked >= LOOK) this.#look();
    return this.#value!;
  }

  #look(): void {
    this.#looked = performance.now();
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    const stamp = stat ? `${stat.ino} ${stat.mtimeMs} ${stat.size}` : "";
    if (this.#value !== undefined && stamp === this.#stamp) return;
    this.#stamp = stamp;
    this.#value = this.#read(readText(this.#path));
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
