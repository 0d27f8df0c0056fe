import { availableParallelism } from "node:os";
import type { Flags } from "../../config/embedded-default.ts";
import { unendedWarning } from "../../config/list-file.ts";
import { type Loaded, type LoadedList, loadConfig } from "../../config/load.ts";
import type { HealthReason, Stats } from "../../control/api.ts";
import { checkPki } from "../../pki/check.ts";
import { createKeyReader } from "../../pki/keys/key-source.ts";
import { capacityOf, resourcesHere } from "../capacity.ts";
import { bad, type Check, type Finding, ok, warning } from "./check.ts";
import { checkClock } from "./clock.ts";
import { checkDns } from "./dns.ts";
import { checkAuthorities, checkDataDir } from "./files.ts";
import { checkConntrack, checkKernel } from "./kernel.ts";
import { checkPorts } from "./ports.ts";
import { checkFeeds, checkStore, checkTools } from "./services.ts";

/** What the doctor knows of the node before it looks. */
export interface Patient {
  /** Undefined: the embedded default. */
  readonly file: string | undefined;
  /** What the command line changed in the embedded default; a command does not know it. */
  readonly flags?: Flags;
  /** Undefined: the configuration does not even tell this. */
  readonly dataDir: string | undefined;
  /** Undefined: no node runs, or it does not answer. */
  readonly asked: Stats | undefined;
  /** Why a node that runs did not answer. */
  readonly silent: string | undefined;
  /** Why this user cannot ask it. */
  readonly closed: string | undefined;
}

/**
 * Looks at everything that a node needs, and says of each thing whether it is well and what to do. Changes nothing. What a running node
 * knows better is its own to say.
 */
export async function examine(patient: Patient): Promise<readonly Check[]> {
  const { asked, closed, dataDir } = patient;
  const mayRun = asked !== undefined || closed !== undefined;
  const loaded = await load(patient);
  const config = "config" in loaded ? loaded : undefined;
  const [clock, dns, disk] = await Promise.all([
    checkClock(dataDir),
    checkDns(),
    dataDir === undefined ? [] : checkDataDir(dataDir, mayRun, config),
  ]);
  const checks: (readonly [name: string, found: Finding | readonly Finding[] | undefined])[] = [
    [
      "configuration",
      config
        ? [ok(`${config.file ?? "The embedded default"} has no error`), ...config.lists.flatMap(aboutList)]
        : (loaded as Finding),
    ],
    ["node", aboutNode(patient)],
    [
      "workers",
      asked && ofHealth(asked, "workers", `${asked.workers.length} of ${asked.workers.length} accept connections`),
    ],
    ["clock", [clock, ...(asked ? only(asked, "clock") : [])]],
    [
      "authorities",
      [
        ...(dataDir === undefined ? [] : await checkAuthorities(dataDir, config)),
        ...(asked ? only(asked, "keys") : []),
      ],
    ],
    ["dns", dns],
    ["disk", asked ? [...only(asked, "disk"), ...disk] : disk],
    ["files", aboutDescriptors(asked, config)],
    ["ports", config && (await checkPorts(config, asked ? "listens" : closed === undefined ? "stopped" : "unknown"))],
    ["kernel", config && (await checkKernel(config, asked ? only(asked, "rules") : undefined))],
    ["kernel", asked ? only(asked, "conntrack") : checkConntrack()],
    [
      "feeds",
      asked
        ? ofHealth(asked, "feeds", running(config?.config.feeds.length ?? asked.feeds.length))
        : config && (await checkFeeds(config)),
    ],
    [
      "tools",
      asked
        ? ofHealth(asked, "tools", running(config?.config.tools.length ?? asked.tools.length))
        : config && (await checkTools(config)),
    ],
    ["store", asked ? asked.store && ofHealth(asked, "store", "It answers") : config && (await checkStore(config))],
    ["history", asked && ofHealth(asked, "history", `${asked.history.sessions} sessions are in it`)],
    [
      "load",
      asked &&
        ofHealth(asked, "overload", `${asked.sessions.live} of at most ${asked.limits.sessions} sessions are live`),
    ],
  ];
  return checks.flatMap(([name, found]) => [found ?? []].flat().map((one) => ({ name, ...one })));
}

/** The configuration, or what is wrong with it. */
async function load({ file, flags }: Pick<Patient, "file" | "flags">): Promise<Loaded | Finding> {
  try {
    const { read } = createKeyReader();
    return await loadConfig(file, (given) => checkPki(given, Date.now(), read), flags);
  } catch (error) {
    const errors: readonly Error[] = error instanceof AggregateError ? error.errors : [error as Error];
    const more = errors.length > 1 ? ` and ${errors.length - 1} more` : "";
    const remedy = `Mend what this lists: clearline check${file === undefined ? "" : ` -c ${file}`}`;
    return bad(`${errors[0]?.message ?? file}${more}`, remedy);
  }
}

/** A list that may not be whole decides less than it should. */
function aboutList({ path, file, entries, unended }: LoadedList): readonly Finding[] {
  const remedy = "See that the file is whole, then reload: clearline reload";
  if (unended !== undefined) return [warning(unendedWarning(path, file, unended), remedy)];
  return entries === 0 ? [warning(`${path}: ${file} has no entry`, remedy)] : [];
}

function aboutNode({ asked, silent, closed, file }: Patient): Finding {
  if (closed !== undefined) return warning(closed, "Run this as root, or as the user that the node runs as");
  if (silent !== undefined) {
    return bad(silent, "If it stays silent, see its log and start it again");
  }
  if (asked) return ok(`Version ${asked.version} runs, and is ${asked.health.status}`);
  const start = `clearline run${file === undefined ? "" : ` -c ${file}`}`;
  return warning("It does not run", `Start it: ${start}, or systemctl start clearline`);
}

/** What the node's health says of one fact. */
function only({ health }: Pick<Stats, "health">, fact: HealthReason["fact"]): Finding[] {
  return health.reasons
    .filter((reason) => reason.fact === fact)
    .map(({ status, reason = fact, remedy }) => ({
      status: status === "failing" ? "bad" : "warning",
      says: reason,
      remedy,
    }));
}

function ofHealth(asked: Stats, fact: HealthReason["fact"], well: string): readonly Finding[] {
  const found = only(asked, fact);
  return found.length > 0 ? found : [ok(well)];
}

function running(count: number): string {
  return count === 0 ? "None is configured" : `${count} of ${count} run`;
}

/** A running node was given its own limits, which are not this shell's. */
function aboutDescriptors(asked: Stats | undefined, loaded: Loaded | undefined): readonly Finding[] {
  const raise = "Raise LimitNOFILE of the service or ulimit -n, give it more memory, or lower limits.sessions";
  const few = (sessions: number, bound: string) =>
    warning(`They are enough for ${sessions} sessions only, bounded by ${bound}`, raise);
  if (asked) {
    const { sessions, bound } = asked.limits;
    if (bound !== "limits.sessions") return [few(sessions, bound), ...only(asked, "descriptors")];
    return ofHealth(asked, "descriptors", `They are enough for ${sessions} sessions`);
  }
  if (!loaded) return [];
  const { workers: wanted } = loaded.config;
  const workers = wanted === "auto" ? availableParallelism() : wanted;
  const { sessions, bound } = capacityOf(loaded.config, workers, resourcesHere());
  if (bound !== "limits.sessions") return [few(sessions * workers, bound)];
  return [ok(`They are enough for ${loaded.config.limits.sessions} sessions, if the node is started from here`)];
}
