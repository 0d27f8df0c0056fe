import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The data folder of a configuration that names none. */
export function defaultDataDir(): string {
  return process.getuid?.() === 0 ? "/var/lib/clearline" : join(homedir(), ".local", "state", "clearline");
}

/**
 * The file node.json in the data folder: where the node that runs with this folder serves its API. The commands find the node
 * by it, also when `console.address` was changed in the configuration since the node started.
 */
interface NodeFile extends NodeAddress {
  readonly pid: number;
  /** When the process started, as the kernel counts it: the pid may belong to another process by now. */
  readonly started: string;
}

export interface NodeAddress {
  readonly host: string;
  readonly port: number;
  /** The certificate that it shows, in PEM. Absent: it speaks plain HTTP. */
  readonly certificate?: string | undefined;
}

/** Throws what the file system throws. */
export function writeNodeFile(dataDir: string, { host, port, certificate }: NodeAddress): void {
  const { pid } = process;
  const content: NodeFile = { pid, started: startOf(pid) ?? "", host, port, certificate };
  const written = `${nodeFile(dataDir)}.${pid}`;
  try {
    writeFileSync(written, `${JSON.stringify(content)}\n`, { mode: 0o600 });
    renameSync(written, nodeFile(dataDir));
  } catch (error) {
    rmSync(written, { force: true });
    throw error;
  }
}

/** Removes this process's file, and leaves that of another node. */
export function removeNodeFile(dataDir: string): void {
  if (read(dataDir)?.pid === process.pid) rmSync(nodeFile(dataDir), { force: true });
}

/** Where the node that runs with this data folder serves its API. Undefined: none runs, or its file cannot be read. */
export function findRunningNode(dataDir: string): NodeAddress | undefined {
  const found = read(dataDir);
  // A node that was killed leaves its file behind.
  if (!found || startOf(found.pid) !== found.started) return undefined;
  const { host, port, certificate } = found;
  return { host, port, ...(certificate !== undefined && { certificate }) };
}

function read(dataDir: string): NodeFile | undefined {
  try {
    const { pid, started, host, port, certificate } = JSON.parse(readFileSync(nodeFile(dataDir), "utf8"));
    const usable = Number.isInteger(pid) && typeof started === "string" && typeof host === "string";
    if (!usable || !Number.isInteger(port)) return undefined;
    return { pid, started, host, port, certificate: typeof certificate === "string" ? certificate : undefined };
  } catch {
    return undefined;
  }
}

/** When a process started, in clock ticks since boot: proc_pid_stat(5), field 22. Undefined: there is no such process. */
export function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The program's name, in parentheses, may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function nodeFile(dataDir: string): string {
  return join(dataDir, "node.json");
}
