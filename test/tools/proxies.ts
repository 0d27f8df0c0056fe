/** Real programs as tools of kind proxy: they listen at one port and connect back to another. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "../needs.ts";
import { source } from "../peers.ts";
import { accepts, type Program, scratch, start } from "../processes.ts";

/** The ports on 127.0.0.1 at which a tool listens, and to which it connects back. */
export interface ToolPorts {
  readonly port: number;
  readonly back: number;
}

/** HAProxy. `rules`: lines of its frontend. `send`: how it names the session to the node. */
export async function haproxy(ports: ToolPorts, options: HaproxyOptions = {}): Promise<Program> {
  const { mode = "tcp", rules = [], send = "send-proxy-v2 proxy-v2-options unique-id" } = options;
  return haproxyWith(
    ports,
    `global
  log stdout format raw local0
defaults
  mode ${mode}
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tool
  bind 127.0.0.1:${ports.port} accept-proxy
  log-format "from %ci:%cp to %fi:%fp, ID %ID, host %[fc_pp_authority], %ts"
  unique-id-format %[fc_pp_unique_id]
${rules.map((line) => `  ${line}\n`).join("")}  default_backend node
backend node
${mode === "http" ? "  http-reuse never\n" : ""}  server clearline 127.0.0.1:${ports.back} ${send}
`,
  );
}

export async function haproxyWith({ port }: ToolPorts, configuration: string): Promise<Program> {
  const file = join(scratch(), "haproxy.cfg");
  writeFileSync(file, configuration);
  const running = start(program("haproxy"), ["-db", "-f", file]);
  await ready(running, port);
  return running;
}

export interface HaproxyOptions {
  readonly mode?: "tcp" | "http";
  readonly rules?: readonly string[];
  readonly send?: string;
}

/** nginx's stream module, which connects back with version 1 of the PROXY protocol. */
export async function nginxStream(ports: ToolPorts, lines: readonly string[] = []): Promise<Program> {
  return nginxWith(
    ports,
    `stream {
  server {
    listen 127.0.0.1:${ports.port} proxy_protocol;
    ${lines.join("\n    ")}
    proxy_pass 127.0.0.1:${ports.back};
    proxy_protocol on;
  }
}
`,
  );
}

export async function nginxWith({ port }: ToolPorts, stream: string): Promise<Program> {
  const folder = scratch();
  mkdirSync(join(folder, "logs"));
  writeFileSync(
    join(folder, "nginx.conf"),
    `load_module ${program("libnginx-mod-stream")};
daemon off;
pid ${folder}/nginx.pid;
error_log stderr warn;
${process.getuid?.() === 0 ? "user root;" : ""}
worker_processes 1;
events { worker_connections 512; }
${stream}`,
  );
  const running = start(program("nginx-light"), ["-p", folder, "-c", "nginx.conf", "-e", "stderr"]);
  await ready(running, port);
  return running;
}

async function ready(running: Program, port: number): Promise<void> {
  await Promise.race([accepts(port), running.ended.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
}

/** The guide's configuration of a program, with the test's own ports. */
export function documented(kind: "haproxy" | "nginx", { port, back }: ToolPorts): string {
  const page = readFileSync(new URL("../../docs/guide/proxy-tools.md", import.meta.url), "utf8");
  const [, block = ""] = new RegExp(`^\`\`\`${kind}\n(.*?)^\`\`\``, "ms").exec(page) ?? [];
  return block.replaceAll("10.0.9.5:3128", `127.0.0.1:${port}`).replaceAll("10.0.9.1:3129", `127.0.0.1:${back}`);
}

/** A program for SSLproxy's line, which it forwards ("keep") or removes ("strip"). */
export async function listeningProgram({ port }: ToolPorts, way: "keep" | "strip"): Promise<Program> {
  const running = start(process.execPath, [source("listening-program.ts"), String(port), way]);
  await running.shows(/^READY$/m);
  return running;
}
