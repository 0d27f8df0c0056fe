import { spawn, spawnSync } from "node:child_process";
import { ConfigError } from "../errors.ts";

/** The programs that set the kernel up, and the Debian packages they come in. */
const PACKAGES = {
  nft: "nftables",
  ip: "iproute2",
  "iptables-nft": "iptables",
  "ip6tables-nft": "iptables",
} as const;
export type Program = keyof typeof PACKAGES;
export type Command = readonly [program: Program, ...args: string[]];

/** The PATH of an ordinary user lacks sbin. */
const ENVIRONMENT = { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: "C" };
const MAX_OUTPUT = 64 * 1024 * 1024;

/**
 * Runs a program to its end and returns its output. Synchronous, because the steps of a set-up must not be interrupted, and because
 * they are undone while the process exits. Throws ConfigError when the program is not installed or fails.
 */
export function runProgram([program, ...args]: Command, input = ""): string {
  const options = { input, env: ENVIRONMENT, encoding: "utf8", maxBuffer: MAX_OUTPUT } as const;
  const { status, stdout, stderr, error } = spawnSync(program, args, options);
  if (error !== undefined) throw notRun(program, error);
  if (status !== 0) throw failed([program, ...args], stderr);
  return stdout;
}

/** As runProgram, but does not block live sessions. */
export async function readProgram([program, ...args]: Command): Promise<string> {
  const child = spawn(program, args, { env: ENVIRONMENT, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      output[stream] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(notRun(program, error)));
    child.once("close", (status) => {
      if (status === 0) resolve(output.stdout);
      else reject(failed([program, ...args], output.stderr));
    });
  });
}

/** Whether the program is installed. */
export function isInstalled(program: Program): boolean {
  return spawnSync(program, ["-V"], { env: ENVIRONMENT }).error === undefined;
}

function notRun(program: Program, error: NodeJS.ErrnoException): ConfigError {
  const why = error.code === "ENOENT" ? `it is not installed; Debian's package is ${PACKAGES[program]}` : error.message;
  return new ConfigError("listeners", `Cannot run ${program}, which sets the kernel up: ${why}`, {
    cause: error,
  });
}

function failed(command: Command, stderr: string): ConfigError {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  const said = lines.slice(0, 3).join("; ") || "without a message";
  return new ConfigError("listeners", `Cannot set the kernel up: ${command.join(" ")} failed: ${said}`);
}
