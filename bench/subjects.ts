import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startClearline } from "./clearline.ts";
import { HERE } from "./hosts.ts";
import type { Way } from "./loads.ts";
import type { Subject } from "./measures.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, type Program, start, WORKSHOP } from "./processes.ts";
import { startWithProxyTool } from "./proxy-tool.ts";
import type { Comparison } from "./report.ts";

/** Compares CONNECT proxies, fixed port forwards, and the costs of feeds and of a proxy tool. */
export const PEERS = {
  title: "Clearline beside its peers",
  alone: ["direct"],
  pairs: [
    { ours: "clearline", theirs: "mitmproxy" },
    { ours: "clearline forward", theirs: "sslsplit" },
    { ours: "clearline pcapng", theirs: "clearline" },
    { ours: "clearline pcap-over-ip", theirs: "clearline" },
    { ours: "clearline haproxy", theirs: "clearline" },
  ],
} as const satisfies Comparison;

export const PEER_SUBJECTS = [
  "direct",
  "clearline",
  "mitmproxy",
  "clearline forward",
  "sslsplit",
  "clearline pcapng",
  "clearline pcap-over-ip",
  "clearline haproxy",
] as const;
export type PeerSubject = (typeof PEER_SUBJECTS)[number];

/** The program that a subject needs, and its Debian package. */
const NEEDS: Partial<Record<PeerSubject, { program: string; package: string }>> = {
  "clearline haproxy": { program: "haproxy", package: "haproxy" },
  mitmproxy: { program: "mitmdump", package: "mitmproxy" },
  sslsplit: { program: "sslsplit", package: "sslsplit" },
};

/** The Debian package that this subject needs and that is missing; undefined: none. */
export function missing(name: PeerSubject): string | undefined {
  const need = NEEDS[name];
  return need && spawnSync(need.program, ["--version"], { stdio: "ignore" }).error ? need.package : undefined;
}

/** Starts a subject in front of the origin, and resolves once it accepts clients. */
export async function startPeer(name: PeerSubject, origin: Origin): Promise<Subject> {
  if (name === "direct") return { name, way: straight(origin.port), program: origin.program };
  const port = await freePort();
  const program = await STARTS[name](origin, port);
  await listening(program, port);
  const isForward = name === "clearline forward" || name === "sslsplit";
  const proxy = { address: HERE.address, port };
  return { name, way: isForward ? straight(port) : { ...straight(origin.port), proxy }, program };
}

const STARTS: Record<Exclude<PeerSubject, "direct">, (origin: Origin, port: number) => Promise<Program> | Program> = {
  clearline: (origin, port) => startClearline(origin, { mode: "explicit", address: `127.0.0.1:${port}` }),
  "clearline forward": (origin, port) =>
    startClearline(origin, {
      mode: "forward",
      address: `127.0.0.1:${port}`,
      server: `127.0.0.1:${origin.port}`,
    }),
  "clearline pcapng": (origin, port) =>
    startClearline(
      origin,
      { mode: "explicit", address: `127.0.0.1:${port}` },
      { feeds: [{ name: "bench", kind: "pcapng", directory: join(WORKSHOP, `captures-${port}`) }] },
    ),
  async "clearline pcap-over-ip"(origin, port) {
    const place = await freePort();
    const feed = { name: "bench", kind: "pcap-over-ip", address: `127.0.0.1:${place}` };
    const listener = { mode: "explicit", address: `127.0.0.1:${port}` };
    const program = await startClearline(origin, listener, { feeds: [feed] });
    await listening(program, place);
    // The reader ends with the feed. Its CPU time does not count.
    const script = `require("node:net").connect(${place}, "127.0.0.1").on("error", () => {}).resume()`;
    start(`reader ${place}`, process.execPath, ["-e", script]);
    return program;
  },
  "clearline haproxy": startWithProxyTool,
  mitmproxy({ authority }, port) {
    const directory = join(WORKSHOP, `mitmproxy-${port}`);
    mkdirSync(directory);
    writeFileSync(
      join(directory, "mitmproxy-ca.pem"),
      Buffer.concat([readFileSync(authority.key), readFileSync(authority.certificate)]),
    );
    // By default it keeps whole bodies in memory; all other subjects stream them.
    const settings = ["ssl_insecure=true", `confdir=${directory}`, "stream_large_bodies=64k", "flow_detail=0"];
    return start("mitmproxy", "mitmdump", [
      "-q",
      "--listen-host",
      "127.0.0.1",
      "-p",
      `${port}`,
      ...settings.flatMap((setting) => ["--set", setting]),
    ]);
  },
  sslsplit({ authority, port: target }, port) {
    const leaf = join(WORKSHOP, "localhost.key"); // the key of its leaf certificates: P-256, as for all subjects
    const user = process.getuid?.() === 0 ? ["-u", "root"] : [];
    const spec = ["ssl", "127.0.0.1", `${port}`, "127.0.0.1", `${target}`];
    return start("sslsplit", "sslsplit", [
      ...user,
      "-k",
      authority.key,
      "-c",
      authority.certificate,
      "-K",
      leaf,
      "-P",
      ...spec,
    ]);
  },
};

function straight(port: number): Way {
  return { from: HERE, target: { name: "localhost", address: HERE.address, port } };
}
