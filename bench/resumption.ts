import { X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Table from "cli-table3";
import { openAuthorities } from "../src/pki/issue/authority.ts";
import { createMint } from "../src/pki/issue/mint.ts";
import { startClearline } from "./clearline.ts";
import { HERE } from "./hosts.ts";
import { CLIENTS, costOf, openSessions, type Way } from "./loads.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { freePort, listening, type Program, stop, WORKSHOP } from "./processes.ts";
import { progress } from "./rounds.ts";

/** What resumption and the certificate cache save: sessions per CPU second of the node, certificates per CPU second of the mint. */
export interface ResumptionResults {
  /** Sessions per CPU second of the node, by version and by what is resumed. */
  readonly handshakes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Certificates per CPU second, by key type: issued ("cold") and from the cache ("warm"). */
  readonly mint: Readonly<Record<string, { readonly cold: number; readonly warm: number }>>;
}

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
const LEGS = {
  "full on both": { identifiers: false, servers: false },
  "client leg": { tickets: true, servers: false },
  "server leg": { identifiers: false, servers: true },
  "both legs": { tickets: true, servers: true },
} as const;

export async function benchResumption(rounds: number, seconds: number): Promise<ResumptionResults> {
  const origin = await startOrigin();
  const subjects: ({ readonly name: string } & Returning)[] = [];
  for (const [name, resumption] of Object.entries(LEGS)) subjects.push({ name, ...(await begin(origin, resumption)) });
  const runs = new Map<string, number[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const version of VERSIONS) {
      for (const subject of subjects) {
        const { name } = subject;
        progress(`${name}, ${version}, ${round} of ${rounds}`);
        const resumes = name !== "full on both" && name !== "server leg";
        const rate = await measureReturns(subject, version, seconds, resumes);
        runs.set(`${version} ${name}`, [...(runs.get(`${version} ${name}`) ?? []), rate]);
      }
    }
  }
  for (const { program } of subjects) await stop(program);
  await stop(origin.program);
  const middle = (key: string) => runs.get(key)!.sort((a, b) => a - b)[Math.floor(rounds / 2)]!;
  const handshakes = Object.fromEntries(
    VERSIONS.map((version) => [
      version,
      Object.fromEntries(Object.keys(LEGS).map((name) => [name, middle(`${version} ${name}`)])),
    ]),
  );
  return { handshakes, mint: await measureMint(origin) };
}

interface Returning {
  readonly way: Way;
  readonly program: Program;
}

async function begin(origin: Origin, resumption: object): Promise<Returning> {
  const port = await freePort();
  const listener = { mode: "forward", address: `127.0.0.1:${port}`, server: `127.0.0.1:${origin.resumingPort}` };
  const program = await startClearline(origin, listener, { resumption });
  await listening(program, port);
  const way = { from: HERE, target: { name: HERE.address, address: HERE.address, port } };
  for (const version of VERSIONS) await openSessions(way, 3, { resumes: true, version }); // warm: code is compiled
  return { way, program };
}

async function measureReturns(
  { way, program }: Returning,
  version: string,
  seconds: number,
  resumes: boolean,
): Promise<number> {
  const { done, cpu } = await costOf(program, () => openSessions(way, seconds, { resumes: true, version }));
  const { sessions, resumed } = done;
  // The row's title must be true. Each client's first session is a full handshake.
  if (sessions === 0 || (resumes ? resumed < sessions - 2 * CLIENTS : resumed > 0))
    throw new Error(`${resumed} of ${sessions} sessions resumed with ${version}`);
  return sessions / cpu;
}

const CERTIFICATES = 200;

/** Issues certificates in this process, as the supervisor does. Cold: every certificate is new. */
async function measureMint({ certificate }: Origin): Promise<ResumptionResults["mint"]> {
  const folder = join(WORKSHOP, "mint");
  mkdirSync(folder, { mode: 0o700 });
  const authorities = await openAuthorities(folder, {}, Date.now());
  const server = new X509Certificate(readFileSync(certificate)).raw;
  const rates: Record<string, { cold: number; warm: number }> = {};
  for (const keyType of ["ecdsa", "rsa"] as const) {
    const mint = createMint(authorities, {}, Date.now());
    const one = async () => mint.issue({ certificate: server, authority: "primary", keyType }, Date.now());
    await one();
    const perSecond = async (times: number, before: () => void) => {
      const start = process.cpuUsage();
      for (let count = 0; count < times; count += 1) {
        before();
        await one();
      }
      const { user, system } = process.cpuUsage(start);
      return times / ((user + system) / 1e6);
    };
    rates[keyType] = {
      cold: await perSecond(CERTIFICATES, () => mint.flush()),
      warm: await perSecond(100 * CERTIFICATES, () => {}),
    };
  }
  return rates;
}

export function resumptionTable({ handshakes, mint }: ResumptionResults): string {
  const legs = Object.keys(LEGS);
  const colAligns = ["left" as const, ...legs.map(() => "right" as const)];
  const sessions = new Table({ head: ["", ...legs], style: { head: [], border: [] }, colAligns });
  for (const [version, rates] of Object.entries(handshakes)) {
    sessions.push([version, ...legs.map((name) => rates[name]!.toFixed(0))]);
  }
  const certificates = new Table({
    head: ["", "cold", "warm"],
    style: { head: [], border: [] },
    colAligns: colAligns.slice(0, 3),
  });
  for (const [keyType, { cold, warm }] of Object.entries(mint)) {
    certificates.push([keyType, cold.toFixed(0), warm.toFixed(0)]);
  }
  return `Sessions per CPU second of the node, by what is resumed\n${sessions}\nCertificates per CPU second of the mint\n${certificates}`;
}
